//! The oracles are measured on the whole system: what judges were told in a clean run of the simulated cluster, with the
//! real driver and relay, is damaged, one piece at a time. Each judge objects to what it guards against.

use mainstem_sim::run::{RunOptions, Verdict, run};
use mainstem_sim::story;
use mainstem_world::{DamageKinds, Measured, Testimony};

/// Of each kind of damage.
const PLACES_MAX: usize = 8;
/// Everything that can be told happens in it.
const STORY: &str = "guards S1
replicas A B C
clients roam
heartbeat 1s
lease 3s
poll 1s

only A works
user on A sends \"/model parts=4 every=10ms one\"
user2 on B sends \"/model parts=3 every=10ms two\" to chat2
viewer V on C watches chat
viewer W on A watches chat
viewer X on B watches chat2 as user2
within 1s V sees synced
within 1s chat is waiting
user on A sends \"/model parts=60 every=10ms three\"
user on B sends \"/model parts=3 every=10ms four\"
user on B sends \"/model parts=3 every=10ms five\"
user on B sends \"/model parts=3 every=10ms six\"
user withdraws last
stranger on B tries chat
wait 100ms
viewer Y on C watches chat
user promotes last
within 2s chat is waiting
user on C sends \"/model parts=30 every=10ms seven\"
wait 100ms
user interrupts
within 2s chat is waiting
user on C edits last message to \"/model parts=5 every=10ms fail=3 eight\"
within 5s chat is waiting
user sends \"/model parts=5 every=10ms fatal=2 nine\"
within 1s chat is error
user sends \"/model parts=60 every=100ms ten\"
wait 200ms
B works
wait 4s
A crashes
within 6s chat is running on B
wait 300ms
user on B interrupts
within 2s chat is waiting
A restarts
wait 1s
user2 on B deletes chat2
user on B sends \"/model parts=8 every=10ms kinds=1 calls=1 eleven\" to chat3
within 2s chat3 is requires_action
user on B answers the calls chat3
within 2s chat3 is waiting
user on B regenerates chat3
within 2s chat3 is requires_action
user on B interrupts chat3
within 2s chat3 is waiting
user on B sends \"/model parts=6 every=10ms kinds=1 tools=1 twelve\" to chat4
within 2s chat4 is waiting
";

/// What nobody has to object to here.
const HARMLESS: &[DamageKinds] = &[
    (
        &["measured", "may work", "drift"],
        &["doubled", "dropped", "late"],
        "it says what a judge may count on, and nothing was counted on it",
    ),
    (
        &["saw status"],
        &["of the next attempt"],
        "that attempt has begun meanwhile, and so it says what is so",
    ),
    (&["delete"], &["with one less queued", "with the queue turned round"], "it is gone with all it had"),
];

#[test]
fn every_damage_of_a_full_stack_run_is_objected_to_or_harmless_and_every_judge_objects() {
    let story = story::parse("everything", STORY).expect("it is a story");
    let testimony = Testimony::default();
    let options = RunOptions { testimony: Some(testimony.clone()), ..RunOptions::default() };
    let outcome = run(&story, 0, &options);
    assert!(matches!(outcome.verdict, Verdict::Clean), "{}", outcome.verdict);
    let mut measured = Measured::default();
    measured.add(&testimony.take(), PLACES_MAX);
    let idle = measured.idle_judges();
    assert!(idle.is_empty(), "these judges object to nothing: {idle:?}\n\n{measured}");
    let unseen = measured.unseen(HARMLESS);
    assert!(unseen.is_empty(), "{}\n\n{measured}", unseen.join("\n"));
}
