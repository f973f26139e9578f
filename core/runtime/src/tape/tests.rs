//! Tapes of one hub, in memory: whole, cut short, damaged, full, and of a machine that panics.

mod calls;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mainstem_machine::hub::{
    AudienceEvent, BusEvent, ChatEvent, DatabaseEvent, Hub, HubConfig, HubEvent, Input, OpOutcome, Output,
    Told,
};
use mainstem_machine::{
    ChatId, ChatState, Command, Content, Effect, FollowerId, Message, NewMessage, OpId, ReplicaId, Resume,
    Settings, Snapshot, StoreFacts, SubscriptionId, Tail, Time, Tool, WallTime,
};

use super::format::{InputFrame, LedTo, Next, Reader, first_bytes};
use super::*;
use crate::ports::{NewTape, TapeFull, TapeWriter, Tapes};

const MARKER: &str = "swordfish";

/// A place for one tape, which takes so many bytes.
#[derive(Clone, Debug)]
struct Place(Arc<Mutex<Vec<u8>>>, usize);

impl Place {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().expect("no panic").clone()
    }
}

impl Tapes for Place {
    fn begin(&self, tape: NewTape) -> Box<dyn TapeWriter> {
        *self.0.lock().expect("no panic") = tape.first;
        Box::new(self.clone())
    }
}

impl TapeWriter for Place {
    fn append(&mut self, frame: Vec<u8>) -> Result<(), TapeFull> {
        let mut bytes = self.0.lock().expect("no panic");
        if bytes.len() + frame.len() > self.1 {
            return Err(TapeFull::Tape);
        }
        bytes.extend(frame);
        Ok(())
    }

    fn end(self: Box<Self>, last: Vec<u8>) {
        self.0.lock().expect("no panic").extend(last);
    }
}

fn config() -> HubConfig {
    HubConfig {
        replica: ReplicaId::new("a").expect("an id"),
        relays: false,
        lease_ttl: Duration::from_secs(15),
        episode_bytes_max: 1 << 20,
        tool_steps_max: 4,
    }
}

fn at(micros: u64) -> Time {
    Time::from_micros(micros)
}

fn recorded(bytes_max: usize, with_content: bool) -> (Place, Recorded<Hub>) {
    let place = Place(Arc::default(), bytes_max);
    let recording =
        Recording { tapes: Arc::new(place.clone()), with_content, key: [7; 32], build: "1.2.3".into() };
    let machine = Machine::Hub { chat: ChatId(uuid::Uuid::nil()), config: config() };
    let tape = recording.begin(machine, at(5));
    (place, Recorded::new(Hub::new(at(5), Arc::new(config())), tape))
}

fn created() -> (Arc<ChatState>, Tail) {
    let create = Command::Create {
        chat: ChatId(uuid::Uuid::nil()),
        owner: "ann".into(),
        settings: Settings {
            external_id: Some(MARKER.into()),
            title: Some(MARKER.into()),
            model: Some(MARKER.into()),
            instructions: Some(MARKER.into()),
            tools: [Tool { name: MARKER.into(), description: MARKER.into(), input_schema: MARKER.into() }]
                .into(),
        },
        messages: NewMessage::opening(Some(Content::text(&format!("the word is \"{MARKER}\"")))),
    };
    let facts = StoreFacts { now: WallTime(0), lease_expired: false, found: None, known: None };
    let Effect::Changed(created) = create.apply_to(None, Some("ann"), &facts).effect else {
        panic!("a chat can be created");
    };
    let messages = created.inserted.into_iter().map(Arc::new).collect();
    (created.state, Tail::Newest { messages, from_start: true })
}

fn tell(hub: &mut Recorded<Hub>, micros: u64, event: HubEvent) -> Output {
    hub.take(Input { at: at(micros), what: Told::Event(event) })
}

/// What a replica is told that committed another message.
fn sent(state: &ChatState, tail: &Tail) -> HubEvent {
    let Tail::Newest { messages, .. } = tail else { panic!("it is the first read") };
    let message = Arc::new(Message { id: state.last_message.next(), ..Message::clone(&messages[0]) });
    let version = state.snapshot_version.next();
    let state = Arc::new(ChatState {
        snapshot_version: version,
        history_version: version,
        last_message: message.id,
        ..state.clone()
    });
    HubEvent::Chat(ChatEvent::Committed { state, appended: Some([message].into()) })
}

/// A viewer comes, and is told all there is. Returns how often the hub was told something.
fn play(hub: &mut Recorded<Hub>) -> u64 {
    let viewer = SubscriptionId(1);
    let (state, tail) = created();
    let sent = sent(&state, &tail);
    let said = tell(
        hub,
        6,
        HubEvent::Audience(AudienceEvent::Subscribe {
            subscription: viewer,
            from: Resume::Fresh,
            user: None,
        }),
    );
    assert_eq!(said.actions.len(), 1);
    let said = tell(hub, 7, HubEvent::Bus(BusEvent::Subscribed { op: OpId(1), established: true }));
    assert_eq!(said.actions.len(), 1);
    let read = OpOutcome::Done(Some(Snapshot { state, tail }));
    assert!(
        tell(hub, 8, HubEvent::Database(DatabaseEvent::SnapshotRead { op: OpId(2), outcome: read })).news
    );
    let said = tell(hub, 9, sent);
    assert!(said.news && said.actions.is_empty(), "L4: what was sent needs no read");
    let mut pulls = 1;
    while hub.take(Input { at: at(9), what: Told::NextEvent(viewer) }).event.is_some() {
        pulls += 1;
    }
    assert!(pulls > 3, "there is something to tell");
    assert_eq!(hub.take(Input { at: at(9), what: Told::NextFrame(FollowerId(1)) }).frame, None);
    4 + pulls + 1
}

fn replayed(bytes: &[u8]) -> Replayed {
    replay(bytes, &mut |_| ()).expect("a tape")
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

#[test]
fn a_tape_has_all_that_a_machine_was_told_and_no_text_unless_it_was_asked_for() {
    for with_content in [false, true] {
        let (place, mut hub) = recorded(usize::MAX, with_content);
        let told = play(&mut hub);
        drop(hub);
        let bytes = place.bytes();
        assert_eq!(contains(&bytes, MARKER), with_content);
        let mut times = vec![];
        let replayed = replay(&bytes, &mut |step| times.push(step.at)).expect("a tape");
        assert_eq!((replayed.inputs, replayed.verdict), (told, Verdict::Same), "D4");
        assert_eq!((replayed.ending, &*replayed.build), (Ending::Ended(End::LetGo), "1.2.3"));
        assert!(times.is_sorted() && times.first() == Some(&at(6)));
        assert_eq!(replayed.head.begun_at, at(5));
    }
}

#[test]
fn a_tape_that_was_cut_short_is_good_up_to_its_last_whole_input() {
    let (place, mut hub) = recorded(usize::MAX, false);
    let told = play(&mut hub);
    let bytes = place.bytes();
    let (mut whole, mut heads) = (0, 0);
    for len in 0..=bytes.len() {
        match replay(&bytes[..len], &mut |_| ()) {
            Ok(Replayed { inputs, verdict, ending, .. }) => {
                assert!(inputs >= whole && verdict == Verdict::Same, "D4");
                let torn = matches!(ending, Ending::Cut(torn) if torn > 0);
                assert!(torn || inputs > whole || whole == 0, "{ending:?}");
                assert!(matches!(ending, Ending::Cut(_)), "{ending:?}");
                whole = inputs;
            }
            Err(TapeError::NoTape) => assert!(len < 14, "{len}"),
            Err(TapeError::NoHead) => heads += 1,
            Err(other) => panic!("{len} bytes: {other}"),
        }
    }
    assert!(whole == told && heads > 10);
}

#[test]
fn a_bit_that_changed_is_noticed_wherever_it_is() {
    let (place, mut hub) = recorded(usize::MAX, false);
    play(&mut hub);
    let told = replayed(&place.bytes()).inputs;
    for at in 0..place.bytes().len() {
        let mut bytes = place.bytes();
        bytes[at] ^= 0x10;
        // A length that became larger than what is left looks like a tape that was cut there.
        let whole = replay(&bytes, &mut |_| ()).is_ok_and(|replayed| replayed.inputs == told);
        let names_the_build = (16..21).contains(&at);
        assert!(!whole || names_the_build, "byte {at}");
    }
}

#[test]
fn an_output_that_is_another_than_it_was_is_told_with_its_input() {
    let (place, mut hub) = recorded(usize::MAX, false);
    play(&mut hub);
    let bytes = place.bytes();
    let (mut reader, head) = Reader::open(&bytes).expect("a tape");
    let mut altered = first_bytes("1.2.3", &head).expect("a head");
    let mut count = 0;
    while let Next::Input(input, led_to) = reader.next::<Input>().expect("a frame") {
        count += 1;
        let led_to = match led_to {
            LedTo::Outputs(digest) if count == 4 => LedTo::Outputs(digest + 1),
            led_to => led_to,
        };
        altered.extend(InputFrame::of(&input).expect("a frame").led_to(led_to));
    }
    let replayed = replayed(&altered);
    assert!(matches!(replayed.verdict, Verdict::Differs { input: 4, .. }), "{}", replayed.verdict);
    assert_eq!((replayed.inputs, replayed.ending), (4, Ending::Unread));
    assert!(replayed.verdict.to_string().starts_with("D4: "), "{}", replayed.verdict);
}

#[test]
fn a_machine_that_panics_leaves_its_tape_with_the_input_that_it_panicked_at() {
    let (place, mut hub) = recorded(usize::MAX, false);
    let told = play(&mut hub);
    let again = || {
        HubEvent::Audience(AudienceEvent::Subscribe {
            subscription: SubscriptionId(1),
            from: Resume::Fresh,
            user: None,
        })
    };
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tell(&mut hub, 10, again())));
    assert!(panicked.is_err(), "an id is used once");
    let replayed = replayed(&place.bytes());
    assert_eq!((replayed.inputs, replayed.ending), (told + 1, Ending::Ended(End::Panicked)));
    let Verdict::Panicked { input, message } = replayed.verdict else { panic!("{}", replayed.verdict) };
    assert!(input == told + 1 && message.contains("used once"), "{message}");
}

#[test]
fn a_tape_that_is_full_says_so_and_the_machine_goes_on() {
    let (whole, mut hub) = recorded(usize::MAX, false);
    play(&mut hub);
    let half = whole.bytes().len() / 2;
    let (place, mut hub) = recorded(half, false);
    play(&mut hub);
    let replayed = replayed(&place.bytes());
    assert_eq!((replayed.verdict, replayed.ending), (Verdict::Same, Ending::Ended(End::TapeFull)));
    assert!(place.bytes().len() <= half + crate::limits::tape::LAST_FRAME_BYTES_MAX, "B1");
    assert!(!hub.is_taped());
}

#[test]
fn what_is_no_tape_of_this_format_is_called_so() {
    assert!(!is_tape(b"guards S1\n") && is_tape(b"mainstem tape 9 x\n"));
    let opened = |bytes: &[u8]| replay(bytes, &mut |_| ()).expect_err("no tape");
    assert_eq!(opened(b"guards S1\n"), TapeError::NoTape);
    assert_eq!(opened(b"mainstem tape 9 x\n"), TapeError::Format("9".into()));
    assert_eq!(opened(b"mainstem tape 3 x\n"), TapeError::NoHead);
}
