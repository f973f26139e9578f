//! The demo generator: what each setting does, and its timing in virtual time.

mod virtual_env;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use mainstem_machine::history::ModelHistory;
use mainstem_machine::{
    Block, ChatId, Completion, Content, Episode, FinishReason, Message, MessageId, Role, Time, Version,
    WallTime,
};
use mainstem_runtime::contract::generator::{Subject, check};
use mainstem_runtime::demo::Demo;
use mainstem_runtime::ports::{Boxed, Conversation, Env, Generated, Generation, Generator};
use uuid::Uuid;

use virtual_env::VirtualEnv;

const STAMP: u64 = 1_700_000_000_000_000;

fn said(role: Role, text: &str) -> Arc<Message> {
    Arc::new(Message {
        id: MessageId(1),
        revision: Version(1),
        role,
        content: Content::text(text),
        interrupted: false,
        episode: None,
        finish_reason: None,
        usage: None,
        queued_as: None,
        client_id: None,
        turn: None,
        created_at: WallTime(0),
    })
}

fn conversation(attempt: u64, messages: &[(Role, &str)]) -> Conversation {
    Conversation {
        chat: ChatId(Uuid::nil()),
        model: None,
        episode: Episode { history_version: Version(1), attempt },
        instructions: None,
        tools: Arc::default(),
        history: ModelHistory::of(messages.iter().map(|(role, text)| said(*role, text))),
    }
}

fn demo(env: &VirtualEnv) -> Demo<VirtualEnv> {
    Demo::new(env.clone(), || STAMP)
}

fn start(env: &VirtualEnv, attempt: u64, line: &str) -> Generation {
    demo(env).start(conversation(attempt, &[(Role::User, line)]))
}

/// All events of a run.
fn all(env: &VirtualEnv, attempt: u64, line: &str) -> Vec<Generated> {
    env.run(start(env, attempt, line).collect()).expect("the run ends")
}

fn texts(events: &[Generated]) -> Vec<&str> {
    fn text(event: &Generated) -> Option<&str> {
        if let Generated::Part { text, .. } = event { Some(text) } else { None }
    }
    events.iter().filter_map(text).collect()
}

#[test]
fn it_answers_one_to_sixty_every_20_ms() {
    let env = VirtualEnv::default();
    let events = all(&env, 1, "hello");
    let wanted: String = (1..=60).map(|i| format!("{i} ")).collect();
    assert_eq!(texts(&events).concat(), wanted);
    assert_eq!(events.len(), 61);
    assert_eq!(events.last(), Some(&Generated::Done(Completion::STOPPED)));
    assert_eq!(env.now(), Time::from_micros(60 * 20_000));
}

#[test]
fn the_last_user_message_sets_it() {
    let env = VirtualEnv::default();
    let messages = [
        (Role::User, "/demo parts=5"),
        (Role::Assistant, "1 2 3 4 5 "),
        (Role::User, "/demo parts=2"),
        (Role::Assistant, "/demo parts=9"),
    ];
    let events: Vec<_> = env.run(demo(&env).start(conversation(1, &messages)).collect()).unwrap();
    assert_eq!(texts(&events), ["1 ", "2 "]);
}

#[test]
fn a_conversation_without_messages_is_answered_too() {
    let env = VirtualEnv::default();
    let events: Vec<_> = env.run(demo(&env).start(conversation(1, &[])).collect()).unwrap();
    assert_eq!(events.len(), 61);
}

#[test]
fn size_pads_before_the_space_and_cuts_nothing() {
    let env = VirtualEnv::default();
    let events = all(&env, 1, "/demo parts=10 size=4");
    assert_eq!(texts(&events)[..2], ["1.. ", "2.. "]);
    assert_eq!(texts(&events)[9], "10. ");
    let events = all(&env, 1, "/demo parts=100 size=2");
    assert_eq!(texts(&events)[99], "100 ");
}

#[test]
fn a_stamp_is_read_when_its_part_is_emitted() {
    let env = VirtualEnv::default();
    let events = all(&env, 1, "/demo parts=2 stamp=1");
    assert_eq!(texts(&events), [format!("1@{STAMP} "), format!("2@{STAMP} ")]);
    let events = all(&env, 1, "/demo parts=1 stamp=1 size=22");
    assert_eq!(texts(&events), [format!("1@{STAMP}... ")]);
}

#[test]
fn a_retryable_failure_comes_on_the_first_attempt_only() {
    let env = VirtualEnv::default();
    let events = all(&env, 1, "/demo parts=5 retryable=2");
    assert_eq!(texts(&events), ["1 ", "2 "]);
    assert!(matches!(events.last(), Some(Generated::Failed { retryable: true, .. })), "{events:?}");
    let events = all(&env, 2, "/demo parts=5 retryable=2");
    assert_eq!(texts(&events).len(), 5);
    assert_eq!(events.last(), Some(&Generated::Done(Completion::STOPPED)));
}

#[test]
fn a_fatal_failure_comes_on_every_attempt() {
    let env = VirtualEnv::default();
    for attempt in 1..3 {
        let events = all(&env, attempt, "/demo parts=5 fatal=0");
        let [Generated::Failed { error, retryable: false, .. }] = events.as_slice() else {
            panic!("one failure for good, came {events:?}");
        };
        assert_eq!(&*error.code, "provider_rejected");
    }
}

#[test]
fn a_failure_after_the_last_part_comes_before_the_end_and_a_later_one_never() {
    let env = VirtualEnv::default();
    let events = all(&env, 1, "/demo parts=3 fatal=3");
    assert_eq!(texts(&events).len(), 3);
    assert!(matches!(events.last(), Some(Generated::Failed { .. })));
    let events = all(&env, 1, "/demo parts=3 fatal=4");
    assert_eq!(events.last(), Some(&Generated::Done(Completion::STOPPED)));
}

/// The blocks of an answer, each with its text.
fn blocks(events: &[Generated]) -> Vec<(Block, String)> {
    let mut blocks: Vec<(Block, String)> = vec![];
    for event in events {
        let Generated::Part { begins, text } = event else { continue };
        match begins {
            Some(block) => blocks.push((block.clone(), text.clone())),
            None if blocks.is_empty() => blocks.push((Block::Text, text.clone())),
            None => blocks.last_mut().expect("there is one").1.push_str(text),
        }
    }
    blocks
}

#[test]
fn the_first_parts_are_reasoning_if_that_is_asked_for() {
    let env = VirtualEnv::default();
    let events = all(&env, 1, "/demo parts=4 reasoning=3");
    assert_eq!(blocks(&events), [(Block::Reasoning, "1 2 3 ".into()), (Block::Text, "4 ".into())]);
    let events = all(&env, 1, "/demo parts=2 reasoning=9");
    assert_eq!(blocks(&events), [(Block::Reasoning, "1 2 ".into())]);
}

#[test]
fn the_answer_ends_with_calls_until_it_has_their_results() {
    let env = VirtualEnv::default();
    let line = "/demo parts=2 call=find calls=2";
    let events = all(&env, 1, line);
    let call = |id: &str, input: &str| (Block::tool_call(id, "find"), input.to_owned());
    let wanted =
        [(Block::Text, "1 2 ".into()), call("call_1_1_1", "{\"n\": 1}"), call("call_1_1_2", "{\"n\": 2}")];
    assert_eq!(blocks(&events), wanted);
    let finish_reason = Some(FinishReason::ToolCalls);
    assert_eq!(events.last(), Some(&Generated::Done(Completion { finish_reason, usage: None })));
    let said = [(Role::User, line), (Role::Assistant, "1 2 "), (Role::Tool, "found")];
    let events = env.run(demo(&env).start(conversation(1, &said)).collect::<Vec<_>>()).expect("it ends");
    assert_eq!(blocks(&events), [(Block::Text, "1 2 ".into())]);
    assert_eq!(events.last(), Some(&Generated::Done(Completion::STOPPED)));
}

#[test]
fn a_stalled_run_is_silent_and_waits_for_no_timer() {
    let env = VirtualEnv::default();
    let mut run = start(&env, 1, "/demo parts=5 stall=2");
    for part in ["1 ", "2 "] {
        assert_eq!(env.run(run.next()), Some(Some(Generated::text(part))));
    }
    assert_eq!(env.run(run.next()), None, "L4: nothing will wake it");
    drop(run);
    assert_eq!(env.timers_held(), 0, "B2");
}

#[test]
fn a_paced_part_costs_one_timer() {
    let env = VirtualEnv::default();
    all(&env, 1, "/demo parts=100 interval=250us");
    assert_eq!(env.timers_made(), 100);
    assert_eq!(env.timers_held(), 0, "B2");
}

#[test]
fn what_was_late_delays_nothing_after_it() {
    let env = VirtualEnv::default();
    let mut run = start(&env, 1, "/demo parts=100 interval=10ms");
    for _ in 0..10 {
        env.run(run.next()).unwrap();
        env.pass(Duration::from_millis(3));
    }
    assert_eq!(env.now(), Time::from_micros(103_000));
    // Nobody polls for the time of five parts. Then these are due at once, and the sixth at its original
    // time.
    env.pass(Duration::from_millis(50));
    for _ in 0..5 {
        env.run(run.next()).unwrap();
        assert_eq!(env.now(), Time::from_micros(153_000));
    }
    env.run(run.next()).unwrap();
    assert_eq!(env.now(), Time::from_micros(160_000));
}

#[test]
fn at_full_speed_no_timer_is_set_and_a_part_is_cheap() {
    let env = VirtualEnv::default();
    let started = Instant::now();
    let events = all(&env, 1, "/demo parts=100000 interval=0");
    assert_eq!(events.len(), 100_001);
    assert_eq!((env.timers_made(), env.now()), (0, Time::START));
    // Generous, for an unoptimized build on a busy machine.
    assert!(started.elapsed() < Duration::from_secs(2), "100,000 parts took {:?}", started.elapsed());
}

struct VirtualDemo {
    env: VirtualEnv,
    demo: Demo<VirtualEnv>,
    watched: VirtualEnv,
}

impl Subject for VirtualDemo {
    fn generator(&self) -> &dyn Generator {
        &self.demo
    }

    fn conversation(&self) -> Conversation {
        conversation(1, &[(Role::User, "/demo parts=7")])
    }

    fn runs_open(&self) -> usize {
        self.watched.timers_held()
    }

    fn now(&self) -> Time {
        self.env.now()
    }

    fn sleep(&self, duration: Duration) -> Boxed<'_, ()> {
        Box::pin(self.env.sleep(duration))
    }
}

#[test]
fn it_keeps_the_contract_of_generators() {
    let env = VirtualEnv::default();
    let watched = env.with_timers_of_its_own();
    let subject = VirtualDemo { demo: demo(&watched), env: env.clone(), watched };
    env.run(check(&subject)).expect("the suite waits for timers alone");
}
