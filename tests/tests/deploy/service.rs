//! `deploy/mainstem.service`, and what the server tells a service manager. systemd's own checks have nothing against the unit; no
//! systemd runs it.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;
use std::time::Duration;

use mainstem::limits::adapters::MIGRATE_TIMEOUT;
use mainstem_programs::SYSTEMD_ANALYZE;
use mainstem_tests::cluster::alone_with;
use mainstem_tests::deadline::WAIT_MAX;
use mainstem_tests::deploy::text;
use mainstem_tests::scratch::Scratch;
use mainstem_tests::shipped_binary::server_binary;
use mainstem_tests::viewer::{Kind, Viewer};

use crate::{end, seconds};

/// Of systemd's measure from 0 (safe) to 10; what it says of the unit is below.
const EXPOSURE_MAX: &str = "15";

/// The last value of a setting of the unit.
fn setting(unit: &str, name: &str) -> String {
    let mut values = unit.lines().filter_map(|line| line.strip_prefix(&format!("{name}=")));
    values.next_back().unwrap_or_else(|| panic!("the unit says {name}=")).to_owned()
}

/// The unit in a directory, where the program is what is tested.
fn unit(scratch: &Scratch) -> String {
    let program = format!("ExecStart={}", server_binary().display());
    let unit = text("mainstem.service").replace("ExecStart=/usr/local/bin/mainstem", &program);
    assert!(unit.contains(&program));
    scratch.file("mainstem.service", &unit)
}

fn analyze(arguments: &[&str]) -> (bool, String) {
    let program = SYSTEMD_ANALYZE.path().unwrap_or_else(|missing| panic!("{missing}"));
    let done = Command::new(program).args(arguments).env("SYSTEMD_COLORS", "0").output().expect("it starts");
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    (done.status.success(), said)
}

#[test]
fn systemd_understands_the_unit() {
    let scratch = Scratch::new();
    let file = unit(&scratch);
    let (is_well, said) = analyze(&["verify", "--recursive-errors=no", &file]);
    assert!(is_well && said.trim().is_empty(), "{said}");
    let odd = fs::read_to_string(&file).expect("it was written").replace("WatchdogSec=", "WatchdogSecs=");
    let odd = scratch.file("odd.service", &odd);
    let (_, said) = analyze(&["verify", "--recursive-errors=no", &odd]);
    assert!(said.contains("WatchdogSecs"), "it would say so: {said}");
}

#[test]
fn systemd_finds_the_unit_little_exposed() {
    let scratch = Scratch::new();
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let (is_well, said) = analyze(&["security", "--offline=true", "--no-pager", &threshold, &unit(&scratch)]);
    assert!(is_well, "{said}");
}

#[test]
fn the_unit_gives_time_to_begin_and_to_end() {
    let unit = text("mainstem.service");
    // The default, as the settings of a unit are its administrator's.
    let drain = Duration::from_secs(10);
    assert!(unit.contains("--drain-timeout (10s)"));
    assert!(seconds(&setting(&unit, "TimeoutStopSec")) >= drain + end());
    assert!(seconds(&setting(&unit, "TimeoutStartSec")) > MIGRATE_TIMEOUT);
    assert_eq!(setting(&unit, "Type"), "notify");
    assert!(setting(&unit, "LimitNOFILE").parse::<u32>().is_ok_and(|files| files >= 65_536));
}

/// Receives until this is said, and answers all that was said until then.
fn hear(socket: &UnixDatagram, what: &str) -> Vec<String> {
    socket.set_read_timeout(Some(WAIT_MAX)).expect("a time-out");
    let mut heard = vec![];
    loop {
        let mut buffer = [0; 256];
        let length =
            socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{what}: {error}; heard {heard:?}"));
        heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        if heard.last().is_some_and(|last| last == what) {
            return heard;
        }
    }
}

#[tokio::test]
async fn a_service_manager_is_told_of_the_begin_the_life_and_the_end() {
    let name = format!("mainstem-tests-{}", std::process::id());
    for is_abstract in [false, true] {
        let scratch = Scratch::new();
        let path = scratch.path().join("notify");
        let (address, variable) = match is_abstract {
            true => (SocketAddr::from_abstract_name(&name).expect("a name"), format!("@{name}")),
            false => (SocketAddr::from_pathname(&path).expect("a path"), path.display().to_string()),
        };
        let socket = UnixDatagram::bind_addr(&address).expect("it is free");
        let environment = [("NOTIFY_SOCKET", &*variable), ("WATCHDOG_USEC", "300000")];
        let mut replica = alone_with(&scratch, &["--drain-timeout", "20s"], &environment).await;
        assert_eq!(hear(&socket, "READY=1"), ["READY=1"], "nothing is said before");
        for _ in 0..3 {
            assert_eq!(hear(&socket, "WATCHDOG=1").len(), 1);
        }
        let chat = replica.client().create("/demo parts=40 interval=50ms").await;
        let mut viewer = Viewer::open(&replica.client(), &chat, Kind::EventStream).await;
        viewer.until("an answer runs", |screen| screen.seq > 1).await;
        replica.terminate();
        let heard = hear(&socket, "STOPPING=1");
        assert!(heard.iter().all(|said| said == "WATCHDOG=1" || said == "STOPPING=1"), "{heard:?}");
        assert!(replica.is_running(), "it is said when the drain begins");
        // Draining is life, too.
        hear(&socket, "WATCHDOG=1");
        assert!(replica.ended().await.success());
    }
}

#[tokio::test]
async fn a_service_manager_that_is_not_there_keeps_nobody_from_serving() {
    for socket in ["/no/such/socket", "@mainstem-tests-nobody", "nonsense"] {
        let scratch = Scratch::new();
        let mut replica = alone_with(&scratch, &[], &[("NOTIFY_SOCKET", socket)]).await;
        replica.client().get("/readyz").await.expect(200);
        replica.terminate();
        assert!(replica.ended().await.success());
    }
}
