//! The page of a run, in a real browser: it draws, it can be searched and zoomed by keys, it shows what
//! broke, and no text of a story is interpreted as markup. The page operates itself (`#selfcheck`) and writes
//! the results into the document.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mainstem_programs::{CHROMIUM, CHROMIUM_FLAGS};
use serde_json::Value;

/// Time limit, by the wall clock.
const BROWSER_LIMIT: Duration = Duration::from_secs(90);
const FLAGS: [&str; 2] = ["--window-size=1500,950", "--dump-dom"];

/// A story that must fail, with text that tries to break out of the page.
const FAILS: &str = r#"
guards S3
replicas A B

only A works
user on A sends "one </script><b>out</b><img src=x> {{data}}"
model on A says 3 parts
viewer V on B watches chat
within 500ms V sees part 1
B crashes
within 2s V sees part 7
"#;

/// A directory that is removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mainstem-html-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary directory can be made");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Replays a scenario into a page. Returns the exit code and the page's report about itself.
fn inspect(scenario: &Path, scratch: &Scratch) -> (Option<i32>, Value) {
    let page = scratch.0.join("run.html");
    let replay = Command::new(env!("CARGO_BIN_EXE_mainstem-sim"))
        .arg("replay")
        .arg(scenario)
        .arg("--html")
        .arg(&page)
        .output()
        .expect("the simulator runs");
    let text = fs::read_to_string(&page)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&replay.stderr)));
    assert!(!text.contains("://"), "the page names no other");
    let out = scratch.0.join("dom.html");
    let mut browser = Command::new(CHROMIUM.path().unwrap_or_else(|missing| panic!("{missing}")))
        .args(CHROMIUM_FLAGS)
        .args(FLAGS)
        .arg(format!("--user-data-dir={}", scratch.0.join("profile").display()))
        .arg(format!("file://{}#selfcheck", page.display()))
        .stdout(fs::File::create(&out).expect("a file can be made"))
        .stderr(Stdio::null())
        .spawn()
        .expect("the browser starts");
    let start = Instant::now();
    while browser.try_wait().expect("a child can be waited for").is_none() {
        if start.elapsed() > BROWSER_LIMIT {
            let _ = browser.kill();
            let _ = browser.wait();
            panic!("the browser was not done within {BROWSER_LIMIT:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let dom = fs::read_to_string(&out).expect("the browser wrote what it saw");
    let report = dom
        .split_once(r#"<output id="selfcheck" hidden="">"#)
        .and_then(|(_, rest)| rest.split_once("</output>"));
    let report = report.expect("the page has its self-check").0;
    let report =
        report.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
    let report = serde_json::from_str(&report)
        .unwrap_or_else(|error| panic!("{error}: the page's script failed: {report}"));
    (replay.status.code(), report)
}

fn number(report: &Value, pointer: &str) -> f64 {
    report
        .pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("no number at {pointer}: {report}"))
}

/// Asserts what holds for every run with a fault.
fn assert_it_is_usable(report: &Value) {
    let number = |pointer: &str| number(report, pointer);
    for view in ["/start", "/nearer", "/fitted"] {
        assert!(number(&format!("{view}/arrows")) > 0.0, "{view} has arrows");
        assert_eq!(number(&format!("{view}/overlaps")), 0.0, "no text covers another in {view}");
        let inked = number(&format!("{view}/inked"));
        assert!((0.01..0.9).contains(&inked), "{view} is drawn on, and not all over: {inked}");
    }
    assert!(number("/fitted/arrows") > number("/start/arrows"), "the whole run has more than its beginning");
    assert!(number("/nearer/zoom") > number("/start/zoom"));
    assert!(number("/withoutClients") < number("/arrows"), "what is switched off is not drawn");
    assert!(number("/unfolded") > 2.0 * number("/folded"), "quiet time is shortened, until it is not");
    for error in report["inverse"].as_array().expect("three moments") {
        assert!(error.as_f64().expect("a time") < 1.0, "a moment's height leads back to it");
    }
    assert!(report["focused"] == true && report["search"]["all"] == true, "{}", report["search"]);
    assert!(number("/search/found") > 0.0 && number("/search/cleared") > number("/search/found"));
    assert_eq!(number("/search/none"), 0.0);
    assert!(report["search"]["chosen"].as_str().expect("a match is chosen").contains("dial"));
    assert_eq!(report["fault"], "fault", "f leads to a fault");
    assert_eq!(report["themed"], true);
    assert_eq!(number("/scripts"), 2.0, "no script but the page's own");
    assert_eq!(number("/foreign"), 0.0, "nothing in the page but its own");
}

#[test]
fn a_clean_run_is_drawn_searched_and_zoomed() {
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/T4.story");
    let (code, report) = inspect(&scenario, &Scratch::new());
    assert_eq!(code, Some(0));
    assert_it_is_usable(&report);
    let lane = |lane: &Value| format!("{} {}", lane["role"], lane["name"]).replace('"', "");
    let lanes: Vec<_> = report["lanes"].as_array().expect("lanes").iter().map(lane).collect();
    let expected =
        ["client V", "client user", "replica A", "replica B", "replica C", "database database", "bus bus"];
    assert_eq!(lanes, expected);
    assert_eq!(number(&report, "/start/lanes"), 7.0, "all lanes are in sight");
    assert!(number(&report, "/arrows") > 100.0);
    assert!(number(&report, "/lost") >= 1.0, "the dial that hung came to nothing");
    assert!(report["details"].as_str().expect("details").contains("dial hanging"), "{}", report["details"]);
    assert_eq!(report["broken"], Value::Null);
}

#[test]
fn a_run_that_failed_opens_where_it_broke_and_stays_whole() {
    let scratch = Scratch::new();
    let scenario = scratch.0.join("fails.story");
    fs::write(&scenario, FAILS).expect("a story can be written");
    let (code, report) = inspect(&scenario, &scratch);
    assert_eq!(code, Some(1));
    assert_it_is_usable(&report);
    let broken = &report["broken"];
    assert!(broken["text"].as_str().expect("what broke").contains("S3: not within 2s"), "{broken}");
    assert!(broken["chosen"] == true && broken["inSight"] == true, "{broken}");
    let down = |span: &Value| {
        span["state"] == "down"
            && report["lanes"][span["lane"].as_u64().unwrap_or(99) as usize]["name"] == "B"
    };
    assert!(
        report["spans"].as_array().expect("spans").iter().any(down),
        "B is shown as down: {}",
        report["spans"]
    );
    let story = report["story"].as_array().expect("the story");
    let said = r#"user on A sends "one </script><b>out</b><img src=x> {{data}}""#;
    assert!(story.iter().any(|line| line == said), "what was said stands there as it was: {story:?}");
}
