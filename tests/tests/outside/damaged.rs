//! The judges of real runs are measured: what they were told of one is damaged, one piece at a time, as that of the pure
//! world is (`sim/world/tests/damages.rs`), and each judge that can be fed from outside objects.

use mainstem_oracles::Guarantee::{self, B2, L1, L3, L6, S1, S2, S4, S5, S6, S7, S8, S9, S10, S11};
use mainstem_tests::stories::tell;
use mainstem_world::Measured;

/// A relay, a queue and an interrupt.
const STORY: &str = r#"
guards S1
replicas A C

only A works
user sends "one"
model on A says 3 parts
viewer V on C watches chat
viewer W on A watches chat
within 1s V sees parts 1..3 of A
user on C sends "two"
within 1s V sees queue of 1
model on A says 2 parts
within 1s V sees parts 4..5 of A
user on C interrupts
within 1s V sees answer of 5 parts interrupted
within 1s V sees message "two"
model on A says 2 parts
within 1s V sees parts 1..2 of A
model on A finishes
within 1s V sees answer of 2 parts
within 1s V sees status waiting
within 1s W sees status waiting
"#;

/// A model thinks, says something, and calls a tool of the server.
const WITH_A_CALL: &str = r#"
guards S11
replicas A C

only A works
user on C sends "/model parts=6 every=20ms kinds=1 tools=1 takes=100ms"
viewer V on C watches chat
within 1s V sees answer of 6 parts
within 2s chat is waiting
within 1s V sees status waiting
"#;

/// Damages that the judge of a guarantee has to see, alone or with others.
const GUARDS: &[(Guarantee, &str, &[&str])] = &[
    (S1, "saw message", &["dropped", "doubled", "of another text", "of another id"]),
    (S1, "saw status", &["with the cursor of a future"]),
    (S1, "send", &["at another version"]),
    (S2, "saw parts", &["doubled", "dropped", "one part on", "of another text"]),
    (S4, "finish_turn", &["with another text", "without its message"]),
    (S4, "run done", &["dropped", "as failed"]),
    (
        S5,
        "acquire",
        &["doubled", "dropped", "by another replica", "with another worker", "with another lease"],
    ),
    (S5, "run started", &["by another replica"]),
    (S6, "send", &["doubled", "dropped", "with one less queued"]),
    (S6, "answered", &["as refused", "with another id"]),
    (S7, "interrupt", &["into another status"]),
    (S7, "run cancelled", &["dropped"]),
    (S8, "saw status", &["of another status", "of another worker"]),
    (S9, "saw queue", &["with one missing"]),
    (S10, "send", &["for a stranger"]),
    (S10, "watches", &["of a stranger"]),
    (L1, "end of the run", &["with a viewer cut off"]),
    (L3, "end of the run", &["with a request unanswered"]),
    (B2, "end of the run", &["with a connection left"]),
    (L1, "saw message", &["late"]),
];

const GUARDS_OF_CALLS: &[(Guarantee, &str, &[&str])] = &[
    (S2, "saw parts", &["doubled", "one part on", "of another text"]),
    (S4, "commit_step", &["with another text"]),
    (S11, "commit_step", &["doubled", "without its message"]),
    (S11, "call begun", &["doubled", "dropped", "for another call"]),
    (S11, "call returned", &["dropped", "with another result"]),
    (L6, "call begun", &["and then its tools are silent"]),
];

#[tokio::test]
async fn judges_of_a_real_run_object_to_what_is_damaged_of_it() {
    measure(STORY, GUARDS).await;
}

#[tokio::test]
async fn judges_of_a_real_run_object_to_what_is_damaged_of_its_calls() {
    measure(WITH_A_CALL, GUARDS_OF_CALLS).await;
}

async fn measure(story: &str, guards: &[(Guarantee, &'static str, &'static [&'static str])]) {
    let story = mainstem_story::parse("damaged", story).unwrap_or_else(|problem| panic!("{problem}"));
    let told = tell(&story).await;
    let mut measured = Measured::default();
    measured.add(&told, 3);
    let objects = |(guarantee, what, hows): &(Guarantee, &'static str, &[&'static str])| {
        let row = |how: &&'static str| measured.rows.get(&(*what, *how));
        let is_deaf = |how: &&&'static str| row(how).is_none_or(|row| !row.objected.contains_key(guarantee));
        let deaf = hows.iter().filter(is_deaf);
        deaf.map(|how| format!("{guarantee} guards against `{what}, {how}` and does not object")).collect()
    };
    let wrong: Vec<String> = guards.iter().flat_map(|guard| -> Vec<String> { objects(guard) }).collect();
    assert!(wrong.is_empty(), "{}\n\n{measured}", wrong.join("\n"));
}
