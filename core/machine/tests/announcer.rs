//! The laws of an announcer: what of a change is told here, and what is published of it, in which order and how much
//! of it at a time.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mainstem_machine::announce::{Announcer, AnnouncerAction, AnnouncerEvent, Notice};
use mainstem_machine::hub::{ChatEvent, HubEvent};
use mainstem_machine::limits::{ANNOUNCEMENTS_MAX, ANNOUNCEMENTS_WAITING_MAX};
use mainstem_machine::replica::ReplicaEvent;
use mainstem_machine::{
    Appended, Applied, ChatId, ChatState, Command, Content, Effect, Found, Lease, NewMessage, Rejection,
    ReplicaId, Role, SendMode, Status, StoreFacts, Version, WallTime,
};
use proptest::prelude::*;
use uuid::Uuid;

fn chat(n: u128) -> ChatId {
    ChatId(Uuid::from_u128(n))
}

fn row(n: u128, version: u64, status: Status, worker: Option<&str>) -> Arc<ChatState> {
    let facts = StoreFacts { now: WallTime(0), lease_expired: false, found: None, known: None };
    let content = Some(Content::text("begin"));
    let create = Command::Create {
        chat: chat(n),
        owner: "ann".into(),
        settings: Default::default(),
        messages: NewMessage::opening(content),
    };
    let Effect::Changed(created) = create.apply_to(None, None, &facts).effect else {
        panic!("it is created")
    };
    let worker = worker.map(|id| ReplicaId::new(id).expect("an id"));
    let snapshot_version = Version(version);
    Arc::new(ChatState { snapshot_version, status, worker, ..ChatState::clone(&created.state) })
}

fn asked(announcer: &mut Announcer, event: AnnouncerEvent) -> Vec<AnnouncerAction> {
    announcer.handle(event);
    std::iter::from_fn(|| announcer.poll_action()).collect()
}

fn committed(n: u128, version: u64) -> AnnouncerEvent {
    let state = row(n, version, Status::Waiting, None);
    AnnouncerEvent::Committed { state, appended: Some([].into()), next_row: None, deleted: false }
}

fn published(actions: &[AnnouncerAction]) -> Vec<(ChatId, u64)> {
    let published = actions.iter().filter_map(|action| match action {
        AnnouncerAction::Publish(notice) => Some((notice.chat, notice.snapshot_version.0)),
        _ => None,
    });
    published.collect()
}

#[test]
fn a_change_is_told_here_first_and_then_published() {
    for (status, worker, free) in [
        (Status::Running, None, true),
        (Status::Interrupting, None, true),
        (Status::Running, Some("a"), false),
        (Status::Waiting, None, false),
        (Status::Error, None, false),
    ] {
        let state = row(1, 7, status, worker);
        let notice = Notice::of(&state, None, false);
        assert_eq!((notice.free, notice.deleted, notice.snapshot_version), (free, false, Version(7)), "L3");
        let event = HubEvent::Chat(ChatEvent::Committed { state: state.clone(), appended: None });
        let mut expected = vec![AnnouncerAction::To { chat: chat(1), event }];
        if free {
            expected.push(AnnouncerAction::ToReplica(ReplicaEvent::Free { chat: chat(1), status }));
        }
        expected.push(AnnouncerAction::Publish(notice));
        let told = asked(
            &mut Announcer::default(),
            AnnouncerEvent::Committed { state, appended: None, next_row: None, deleted: false },
        );
        assert_eq!(told, expected, "L1, L3: {status:?}");
    }
}

#[test]
fn what_a_change_appended_is_told_with_its_row_and_of_a_cut_the_row_alone() {
    let facts = StoreFacts { now: WallTime(0), lease_expired: false, found: None, known: None };
    let idle = row(1, 7, Status::Waiting, None);
    let idle = ChatState { turn: None, ..ChatState::clone(&idle) };
    let said = |text: &str| Content::text(text);
    let found = Some(Found { id: idle.last_message, role: Role::User, queued_as: None });
    let send = |mode| Command::Send { content: said("more"), mode, queue_max: 5, client_id: None };
    let edit = Command::Edit { message: idle.last_message, content: said("other") };
    let again = Command::Regenerate { message: Some(idle.last_message), mode: SendMode::Queue };
    let busy = ChatState { status: Status::Running, ..idle.clone() };
    for (state, command, expected) in [
        (&idle, send(SendMode::Queue), Some(vec![said("more")])),
        (&busy, send(SendMode::Queue), Some(vec![])),
        (&idle, edit, None),
        (&idle, again, None),
    ] {
        let facts = StoreFacts { found, ..facts.clone() };
        let applied = command.apply_to(Some(state), None, &facts);
        let event = AnnouncerEvent::of(chat(1), &applied).expect("it changes something");
        let told = asked(&mut Announcer::default(), event);
        let AnnouncerAction::To { event: HubEvent::Chat(ChatEvent::Committed { state, appended }), .. } =
            &told[0]
        else {
            panic!("{told:?}")
        };
        let contents = |appended: &Appended| appended.iter().map(|message| message.content.clone()).collect();
        assert_eq!(appended.as_ref().map(contents), expected, "S1: {}", command.name());
        assert_eq!(state.snapshot_version, Version(8));
    }
}

/// What is published of these commands, one after the other, on a chat that begins with a message.
fn published_of(commands: &[Command]) -> Vec<Notice> {
    let facts = StoreFacts { now: WallTime(0), lease_expired: false, found: None, known: None };
    let mut state = row(1, 1, Status::Running, None);
    let notices = commands.iter().map(|command| {
        let applied = command.apply_to(Some(&state), None, &facts);
        state = applied.change().expect("it changes something").state.clone();
        let event = AnnouncerEvent::of(chat(1), &applied).expect("it changes something");
        match asked(&mut Announcer::default(), event).pop() {
            Some(AnnouncerAction::Publish(notice)) => notice,
            other => panic!("L1: {other:?}"),
        }
    });
    notices.collect()
}

#[test]
fn what_a_change_made_of_the_row_alone_is_published_and_of_any_other_only_that_it_is_there() {
    let replica = ReplicaId::new("a").expect("an id");
    let send = Command::Send {
        content: Content::text("more"),
        mode: SendMode::Queue,
        queue_max: 5,
        client_id: None,
    };
    let title = mainstem_machine::NewSettings { title: Some(Some("a title".into())), ..Default::default() };
    let share = |user: &str| Command::Share { user: user.into(), may: mainstem_machine::Access::Read };
    let acquire = Command::Acquire { replica: replica.clone(), interrupting_only: false };
    let commands = [
        acquire.clone(),
        send,
        Command::Configure(title),
        share("bob"),
        Command::Interrupt { episode: None },
        Command::Release { replica: replica.clone(), lease: Lease(1) },
        acquire,
    ];
    let notices = published_of(&commands);
    let carries: Vec<_> = notices.iter().map(|notice| notice.row.is_some()).collect();
    assert_eq!(carries, [true, false, false, false, true, true, true], "S10: settings and names are read");
    let row = notices[0].row.as_ref().expect("an acquisition changes the row alone");
    assert_eq!((&row.worker, row.lease, row.attempt), (&Some(replica), Lease(1), 1));
    let HubEvent::Chat(ChatEvent::Noticed(noticed)) = notices[0].event() else { panic!("it is told whole") };
    assert_eq!((noticed.snapshot_version, noticed.row), (Version(2), row.clone()));
    let hint = HubEvent::Chat(ChatEvent::Hint { snapshot_version: Version(3) });
    assert_eq!(notices[1].event(), hint);
}

#[test]
fn a_row_that_is_gone_is_no_row_to_show_and_no_work() {
    let state = row(1, 7, Status::Running, None);
    let told = asked(
        &mut Announcer::default(),
        AnnouncerEvent::Committed { state, appended: Some([].into()), next_row: None, deleted: true },
    );
    let [AnnouncerAction::To { event, .. }, AnnouncerAction::Publish(notice)] = &told[..] else {
        panic!("L1: {told:?}")
    };
    assert_eq!(
        *event,
        HubEvent::Chat(ChatEvent::Hint { snapshot_version: Version(7) }),
        "S1: it is read, and not there"
    );
    assert!(notice.deleted && !notice.free, "L3: nobody is sent for it");
}

#[test]
fn what_was_answered_again_is_read_and_announced_again() {
    let mut announcer = Announcer::default();
    let read = asked(&mut announcer, AnnouncerEvent::Replayed { chat: chat(1) });
    assert_eq!(
        read,
        [AnnouncerAction::Read { chat: chat(1) }],
        "L1: whoever committed it may have told nobody"
    );
    let state = Some(row(1, 9, Status::Running, None));
    let told = asked(&mut announcer, AnnouncerEvent::Read { state });
    let hint = HubEvent::Chat(ChatEvent::Hint { snapshot_version: Version(9) });
    assert_eq!(told[0], AnnouncerAction::To { chat: chat(1), event: hint }, "L1");
    let free = ReplicaEvent::Free { chat: chat(1), status: Status::Running };
    assert_eq!(told[1], AnnouncerAction::ToReplica(free), "L3");
    assert_eq!(published(&told), [(chat(1), 9)]);
    let nothing = asked(&mut announcer, AnnouncerEvent::Replayed { chat: chat(1) });
    assert_eq!(nothing, [AnnouncerAction::Read { chat: chat(1) }]);
    assert_eq!(asked(&mut announcer, AnnouncerEvent::Read { state: None }), [], "it could not be read");
}

#[test]
fn only_what_changed_something_is_announced() {
    let state = row(1, 7, Status::Running, None);
    let replayed = Applied::replayed(Err(Rejection::Busy));
    for nothing in [Applied::rejected(Rejection::Busy), replayed] {
        assert_eq!(AnnouncerEvent::of(chat(1), &nothing), None);
    }
    let again = Applied::replayed(Ok(mainstem_machine::Accepted::Chat(state)));
    assert_eq!(AnnouncerEvent::of(chat(1), &again), Some(AnnouncerEvent::Replayed { chat: chat(1) }), "L1");
}

#[test]
fn of_a_chat_only_the_newest_notice_waits_and_keeps_its_place() {
    let mut announcer = Announcer::default();
    for n in 0..ANNOUNCEMENTS_MAX as u128 {
        assert_eq!(published(&asked(&mut announcer, committed(n, 1))).len(), 1);
    }
    for (n, version) in [(100, 2), (50, 3), (100, 5), (100, 4)] {
        assert_eq!(published(&asked(&mut announcer, committed(n, version))), [], "B1");
    }
    for expected in [(chat(100), 5), (chat(50), 3)] {
        let next = asked(&mut announcer, AnnouncerEvent::Published);
        assert_eq!(published(&next), [expected], "L1: who waits longest is next, with the newest");
    }
    assert_eq!(asked(&mut announcer, AnnouncerEvent::Published), []);
}

#[test]
fn a_replay_is_read_once_for_all_that_waited_for_it() {
    let mut announcer = Announcer::default();
    for n in 0..ANNOUNCEMENTS_MAX as u128 {
        assert_eq!(asked(&mut announcer, AnnouncerEvent::Replayed { chat: chat(n) }).len(), 1);
    }
    for _ in 0..3 {
        assert_eq!(asked(&mut announcer, AnnouncerEvent::Replayed { chat: chat(100) }), [], "B1");
    }
    let next = asked(&mut announcer, AnnouncerEvent::Read { state: None });
    assert_eq!(next, [AnnouncerAction::Read { chat: chat(100) }], "L1: begun after the last of them");
    assert_eq!(asked(&mut announcer, AnnouncerEvent::Read { state: None }), []);
}

#[test]
fn when_too_many_wait_further_chats_are_dropped_but_news_of_those_that_wait_is_not() {
    let mut announcer = Announcer::default();
    let most = (ANNOUNCEMENTS_MAX + ANNOUNCEMENTS_WAITING_MAX) as u128;
    // One row for all: what matters here is how many wait.
    let state = row(0, 1, Status::Waiting, None);
    for n in 0..most {
        let state = Arc::new(ChatState { id: chat(n), ..ChatState::clone(&state) });
        let told = asked(
            &mut announcer,
            AnnouncerEvent::Committed { state, appended: None, next_row: None, deleted: false },
        );
        assert!(!told.contains(&AnnouncerAction::Dropped { chat: chat(n) }), "L1: there is room");
    }
    let told = asked(&mut announcer, committed(most, 1));
    assert!(
        matches!(told[..], [AnnouncerAction::To { .. }, AnnouncerAction::Dropped { .. }]),
        "B1: {told:?}"
    );
    let first = ANNOUNCEMENTS_MAX as u128;
    let told = asked(&mut announcer, committed(first, 2));
    assert!(matches!(told[..], [AnnouncerAction::To { .. }]), "L1: it waits already: {told:?}");
    assert_eq!(published(&asked(&mut announcer, AnnouncerEvent::Published)), [(chat(first), 2)]);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Commit { chat: u8, deleted: bool },
    Replay { chat: u8 },
    Read,
    Publish,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u8..24, proptest::bool::weighted(0.1)).prop_map(|(chat, deleted)| Step::Commit { chat, deleted }),
        2 => (0u8..24).prop_map(|chat| Step::Replay { chat }),
        1 => Just(Step::Read),
        3 => Just(Step::Publish),
    ];
    proptest::collection::vec(step, 0..200)
}

/// An announcer, the database, and what is on its way.
#[derive(Default)]
struct World {
    announcer: Announcer,
    versions: BTreeMap<u8, u64>,
    gone: BTreeSet<u8>,
    publishing: usize,
    reading: Vec<ChatId>,
    /// The newest version of each chat that a notice told of.
    heard: BTreeMap<ChatId, u64>,
}

impl World {
    fn handle(&mut self, event: AnnouncerEvent) {
        for action in asked(&mut self.announcer, event) {
            match action {
                AnnouncerAction::Publish(notice) => {
                    self.publishing += 1;
                    let newest = self.heard.entry(notice.chat).or_default();
                    *newest = notice.snapshot_version.0.max(*newest);
                }
                AnnouncerAction::Read { chat } => self.reading.push(chat),
                AnnouncerAction::Dropped { .. } => panic!("L1: there is room for all"),
                AnnouncerAction::To { .. } | AnnouncerAction::ToReplica(_) => {}
            }
        }
        assert!(self.publishing <= ANNOUNCEMENTS_MAX, "B1: {} on their way", self.publishing);
        assert!(self.reading.len() <= ANNOUNCEMENTS_MAX, "B1: {} reads", self.reading.len());
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Commit { chat: n, deleted } => {
                if self.gone.contains(&n) {
                    return;
                }
                let version = self.versions.entry(n).or_default();
                *version += 1;
                let state = row(n.into(), *version, Status::Waiting, None);
                if deleted {
                    self.gone.insert(n);
                }
                self.handle(AnnouncerEvent::Committed {
                    state,
                    appended: Some([].into()),
                    next_row: None,
                    deleted,
                });
            }
            Step::Replay { chat: n } => {
                if !self.gone.contains(&n) {
                    // Committed by somebody who could not announce it.
                    *self.versions.entry(n).or_default() += 1;
                    self.handle(AnnouncerEvent::Replayed { chat: chat(n.into()) });
                }
            }
            Step::Read => {
                if !self.reading.is_empty() {
                    let chat = self.reading.remove(0);
                    let n = u8::try_from(chat.0.as_u128()).expect("a small one");
                    let there = !self.gone.contains(&n);
                    let state = there.then(|| row(n.into(), self.versions[&n], Status::Waiting, None));
                    self.handle(AnnouncerEvent::Read { state });
                }
            }
            Step::Publish => {
                if self.publishing > 0 {
                    self.publishing -= 1;
                    self.handle(AnnouncerEvent::Published);
                }
            }
        }
    }

    /// All that is on its way arrives.
    fn settle(&mut self) {
        while self.publishing + self.reading.len() > 0 {
            assert!(!self.announcer.is_idle(), "L3: who leaves now is not heard");
            self.take(Step::Read);
            self.take(Step::Publish);
        }
    }
}

proptest! {
    #![proptest_config(common::config(200))]

    #[test]
    fn the_newest_version_of_every_chat_is_published_in_the_end(steps in steps()) {
        let mut world = World::default();
        for step in steps {
            world.take(step);
        }
        world.settle();
        for (n, version) in &world.versions {
            let heard = world.heard.get(&chat((*n).into())).copied();
            prop_assert_eq!(heard, Some(*version), "L1: {} of {}", n, version);
        }
        prop_assert!(world.announcer.is_idle(), "nobody waits for ever");
        prop_assert_eq!(world.announcer, Announcer::default(), "B2: nothing is left behind");
    }
}
