//! What a server starts for its tools ends with it.

use std::fs;
use std::path::Path;

use mainstem_programs::PYTHON;
use mainstem_tests::cluster::alone;
use mainstem_tests::deadline::until;
use mainstem_tests::scratch::Scratch;

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/server/tests/tools/server.py");

/// Whether it runs. A zombie has ended.
fn is_alive(process: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[tokio::test]
async fn programs_end_with_the_server_though_it_is_killed_or_they_are_stubborn() {
    for (is_killed, mode) in [(false, "--stubborn"), (false, "--polite"), (true, "--polite")] {
        let scratch = Scratch::new();
        let told = scratch.path().join("process");
        let python = PYTHON.path().expect("Python");
        let args = [SERVER.to_owned(), mode.to_owned(), format!("--pid={}", told.display())];
        let file = format!("[mcp.tests]\ncommand = {python:?}\nargs = {args:?}\n");
        let tools = scratch.file("tools.toml", &file);
        let mut replica = alone(&scratch, &["--tools", &tools]).await;
        let process = until("the program runs", async || fs::read_to_string(Path::new(&told)).ok()).await;
        assert!(is_alive(&process));
        if is_killed {
            replica.kill();
        } else {
            replica.terminate();
            assert!(replica.ended().await.success());
            assert!(!is_alive(&process), "{mode}: it has ended before the server has");
        }
        until("the program has ended", async || (!is_alive(&process)).then_some(())).await;
        let log = replica.log();
        assert!(log.contains("an MCP server is connected") && !log.contains("rmcp"), "{log}");
    }
}
