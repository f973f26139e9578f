//! Every story that the pure world can tell comes true there, and whoever says that it cannot is right.

use std::path::{Path, PathBuf};

use mainstem_oracles::Guarantee;
use mainstem_story::{Story, StoryWorld, parse};
use mainstem_world::{Recording, Untold, tell, tell_story};

fn stories() -> Vec<Story> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let directories = [directory.clone(), directory.join("regressions")];
    let entries = directories.iter().filter_map(|directory| std::fs::read_dir(directory).ok()).flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("they can be listed").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "story"));
    files.sort();
    let read = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).expect("a story can be read");
        let name = file.file_stem().expect("a story has a name").to_string_lossy();
        parse(&name, &text).unwrap_or_else(|problem| panic!("{}:{problem}", file.display()))
    };
    files.iter().map(read).collect()
}

#[test]
fn every_story_comes_true_or_says_why_the_pure_world_cannot_tell_it() {
    let mut wrong = vec![];
    for story in stories() {
        let name = &story.name;
        match (tell_story(&story, &[], false), story.untold.get(&StoryWorld::Pure)) {
            (Ok(telling), None) if telling.is_clean() => {}
            (Ok(telling), None) => {
                let missed = telling.missed.map(|missed| missed.to_string()).unwrap_or_default();
                wrong.push(format!("{name}: {missed} {}", telling.verdict));
            }
            (Ok(_), Some(why)) => wrong.push(format!("{name} can be told, and says {why:?}")),
            (Err(Untold { line, why }), None) => {
                wrong.push(format!("{name}, line {line}: {why}; the story has to say so"));
            }
            (Err(_), Some(_)) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_was_told_is_a_list_of_choices_that_replays_the_same() {
    for story in stories() {
        let Ok(telling) = tell_story(&story, &[], true) else { continue };
        let text = telling.recording.to_string();
        assert_eq!(Recording::parse(&text).as_ref(), Ok(&telling.recording), "{}", story.name);
        let (lines, verdict) = tell(&telling.recording, &[]);
        assert_eq!((lines, verdict), (telling.lines, telling.verdict), "D1: {}", story.name);
    }
}

/// A story with one sentence changed.
fn changed(name: &str, from: &str, to: &str) -> Story {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../scenarios/{name}.story"));
    let text = std::fs::read_to_string(file).expect("a story can be read");
    assert!(text.contains(from), "{name} has no {from:?}");
    parse(name, &text.replacen(from, to, 1)).expect("it is a story yet")
}

#[test]
fn a_sentence_that_does_not_come_true_is_named() {
    for (name, from, to) in [
        ("T1", "V sees parts 4..5 of A", "V sees parts 4..6 of A"),
        ("T1", "V sees status waiting", "V sees status error"),
        ("T2", "for 10s C dials nobody", "within 10s C has 1 dial to A"),
        ("T4", "C dialed B once", "C dialed B twice"),
        ("T6", "V sees status running on B", "V sees status running on A"),
        ("T7", "for 300ms V sees no part", "for 3s V sees no part"),
        ("T8", "within 1s V sees preview_reset", "within 1s V sees preview_reset edit"),
        ("R07", "C has no connection to A", "C has 1 connection to A"),
        ("R08", "within 100ms V sees message \"two\"", "within 100ms V sees message \"one\""),
        ("R22", "within 500ms V sees answer of 2 parts", "within 500ms V sees answer of 3 parts"),
        ("R27", "within 100ms V sees queue of 1", "within 100ms V sees queue of 3"),
        ("R31", "within 6s V sees preview_reset takeover", "within 1s V sees preview_reset takeover"),
    ] {
        let telling = tell_story(&changed(name, from, to), &[], false).expect("it can be told");
        let missed = telling.missed.unwrap_or_else(|| panic!("{name}: nothing was missed of {to:?}"));
        assert!(missed.text.ends_with(to), "{name}: {missed}");
    }
}

#[test]
fn a_fault_that_affects_nothing_is_missed() {
    let story = changed("T3", "wait 500ms", "next dial from A to C hangs");
    let missed = tell_story(&story, &[], false).expect("it can be told").missed.expect("nothing hangs");
    assert_eq!(missed.guarantee, Guarantee::D2, "{missed}");
}

#[test]
fn clocks_strangers_and_requests_sent_twice_are_told() {
    let story = parse(
        "moments",
        r#"guards S10 S6
replicas A B
only A works
clock of A gains 15 in a thousand
clock of B loses 100 in a thousand
user on A and B sends "one"
model on A says 2 parts
viewer V on B watches chat
within 1s V sees parts 1..2 of A
from now on V sees no preview_reset
stranger on B tries chat
wait 1s
within 1s chat is running on A
user on B and A sends "two"
within 1s V sees queue of 1
B restarts with another secret
wait 6s
B has no connection to A
model on A finishes
within 6s V sees answer of 2 parts
"#,
    )
    .unwrap_or_else(|problem| panic!("{problem}"));
    let telling = tell_story(&story, &[], false).expect("it can be told");
    let missed = telling.missed.as_ref().map(ToString::to_string);
    assert!(telling.is_clean(), "{missed:?} {}", telling.verdict);
    let told = telling.recording.to_string();
    for choice in ["drift a 15", "drift b -100", "repeat b", "peep b chat1", "try b chat1", "start-amiss b"] {
        assert!(told.contains(choice), "{choice} is not among what was told:\n{told}");
    }
}
