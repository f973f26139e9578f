//! The laboratory's stories, told to real servers. A story that cannot be told to them says so.

use std::sync::Mutex;

use mainstem_story::{Story, StoryWorld, parse};
use mainstem_tests::bus_server::{BusServer, Kind};
use mainstem_tests::shipped_binary::workspace_root;
use mainstem_tests::stories::{Between, tell, tell_between, untold};

/// Stories that are told at once.
const TOLD_AT_ONCE: usize = 6;

fn stories() -> Vec<Story> {
    let entries = std::fs::read_dir(workspace_root().join("scenarios")).expect("there are scenarios");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("they can be listed").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "story"));
    files.sort();
    let read = |file: &std::path::PathBuf| {
        let text = std::fs::read_to_string(file).expect("a story can be read");
        let name = file.file_stem().expect("a story has a name").to_string_lossy();
        parse(&name, &text).unwrap_or_else(|problem| panic!("{}:{problem}", file.display()))
    };
    files.iter().map(read).collect()
}

#[test]
fn a_story_says_that_real_servers_cannot_be_told_it_if_and_only_if_it_is_so() {
    let wrong: Vec<_> = stories()
        .iter()
        .filter_map(|story| match (untold(story), story.untold.get(&StoryWorld::RealServers)) {
            (Some((line, why)), None) => {
                Some(format!("{}, line {line}: {why}; it has to say so", story.name))
            }
            (None, Some(why)) => Some(format!("{} can be told, and says {why:?}", story.name)),
            _ => None,
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_stories_that_real_servers_can_be_told_come_true() {
    let told: Vec<_> = stories().into_iter().filter(|story| untold(story).is_none()).collect();
    // Relays; an interrupt, a queue, an edit, a crash, a pause; notices, a slow database, lost answers; turns, calls.
    let at_least = "T1 T2 T3 T4 T5 T6 T7 T8 T9 R07 R09 R22 R29 R31 R32 R35 R39 R03 R25 R33 R38 R08 R16 R26 R34 \
                    R57 R59 R60 R61 R62 R63 R64";
    for name in at_least.split(' ') {
        assert!(told.iter().any(|story| story.name == name), "{name} is told");
    }
    all_come_true(told, |story| drop(alone(tell(story))));
}

/// Relays, an interrupt, a queue, an edit, crashes, a pause, a drain; what is told of PostgreSQL's notices is not.
const ELSEWHERE: &str = "T1 T2 T3 T4 T5 T6 T7 T8 T9 R07 R09 R22";

#[test]
fn stories_come_true_behind_a_pooler_of_transactions_by_other_buses() {
    let [nats, redis] = [Kind::Nats, Kind::Redis].map(|kind| alone(BusServer::start(kind)).expect("a bus"));
    let buses = [nats.url(), redis.url()];
    let told: Vec<_> =
        stories().into_iter().filter(|story| ELSEWHERE.split(' ').any(|name| name == story.name)).collect();
    assert_eq!(told.len(), ELSEWHERE.split(' ').count(), "all are there");
    let told = told.iter().flat_map(|story| buses.iter().map(move |bus| (story, bus))).collect();
    all_come_true(told, |(story, bus)| {
        alone(tell_between(story, Between { has_pooler: true, bus: Some(bus) }));
    });
}

fn all_come_true<T: Send>(told: Vec<T>, tell: impl Fn(&T) + Sync) {
    let (waiting, failed) = (Mutex::new(told), Mutex::new(vec![]));
    std::thread::scope(|scope| {
        for _ in 0..TOLD_AT_ONCE {
            scope.spawn(|| {
                while let Some(story) = next(&waiting) {
                    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tell(&story)));
                    let Err(why) = told else { continue };
                    let why = why.downcast_ref::<String>().cloned();
                    failed.lock().expect("nobody panics with it").push(why.unwrap_or_default());
                }
            });
        }
    });
    let failed = failed.into_inner().expect("nobody panicked with it");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn next<T>(waiting: &Mutex<Vec<T>>) -> Option<T> {
    waiting.lock().expect("nobody panics with it").pop()
}

fn alone<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}
