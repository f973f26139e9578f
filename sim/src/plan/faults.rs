//! Draws the faults of a plan: each kind that is enabled gets a few faults at random times. Most of them end
//! before the recovery phase.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::Line;
use super::swarm::{Kind, Swarm};
use crate::seed;

/// Commands that are drawn for lost answers, conflicts and refusals, in addition to any call.
const CALLS: [&str; 18] = [
    "call",
    "call",
    "create",
    "send",
    "edit",
    "interrupt",
    "promote",
    "delete_queued",
    "acquire",
    "begin_attempt",
    "finish_turn",
    "finish_interruption",
    "release",
    "record_retry",
    "snapshot",
    "heartbeat",
    "sync",
    "page",
];

pub(super) fn draw(run: u64, swarm: &Swarm) -> Vec<Line> {
    let mut lines = vec![];
    for kind in swarm.on.iter().filter(|kind| kind.is_fault()) {
        // Each kind has a random stream of its own, so that it does not affect the others.
        let mut rng = seed::stream(run, &format!("fault {kind:?}"));
        for _ in 0..rng.random_range(1..=3) {
            lines.extend(FaultDraw { rng: &mut rng, swarm }.fault(*kind));
        }
    }
    lines
}

struct FaultDraw<'a> {
    rng: &'a mut StdRng,
    swarm: &'a Swarm,
}

impl FaultDraw<'_> {
    fn moment(&mut self) -> Duration {
        // An early fault affects things that happen for the first time.
        if self.rng.random_range(0..4) == 0 {
            return Duration::from_millis(self.rng.random_range(0..1_000));
        }
        Duration::from_millis(self.rng.random_range(200..self.swarm.span.as_millis() as u64 - 500))
    }

    fn ms(&mut self, choices: &[u64]) -> u64 {
        let middle = *choices.choose(self.rng).expect("there are some");
        self.rng.random_range(middle / 2..=middle + middle / 2)
    }

    fn replica(&mut self) -> &'static str {
        self.swarm.replicas.choose(self.rng).expect("there are replicas")
    }

    fn pair(&mut self) -> (&'static str, &'static str) {
        let mut names = self.swarm.replicas.clone();
        names.shuffle(self.rng);
        (names[0], names[1])
    }

    /// A lasting fault: the sentences that begin and end it.
    fn spell(&mut self, lasts: &[u64], begin: String, end: String) -> Vec<Line> {
        let at = self.moment();
        let until = at + Duration::from_millis(self.ms(lasts));
        let mut lines = vec![once(at, begin)];
        if until < self.swarm.span {
            lines.push(once(until, end));
        }
        lines
    }

    fn moment_of(&mut self, text: String) -> Vec<Line> {
        vec![once(self.moment(), text)]
    }

    fn fault(&mut self, kind: Kind) -> Vec<Line> {
        let a = self.replica();
        let (one, other) = self.pair();
        let notices =
            |how: String| (format!("notices to {a} are {how}"), format!("notices to {a} are delivered"));
        match kind {
            Kind::NoticesLost => {
                let (begin, end) = notices("lost".into());
                self.spell(&[2_000, 8_000, 30_000], begin, end)
            }
            Kind::NoticesDoubled => {
                let (begin, end) = notices("doubled".into());
                self.spell(&[8_000], begin, end)
            }
            Kind::NoticesLate => {
                let late = self.ms(&[50, 500, 3_000]);
                let (begin, end) = notices(format!("late by {late}ms"));
                self.spell(&[8_000], begin, end)
            }
            Kind::NoticesScattered => {
                let over = self.ms(&[20, 500, 3_000]);
                let (begin, end) = notices(format!("scattered over {over}ms"));
                self.spell(&[8_000], begin, end)
            }
            Kind::BusRefuses => {
                self.spell(&[1_000, 6_000], format!("bus of {a} refuses"), format!("bus of {a} recovers"))
            }
            Kind::BusHangs => {
                self.spell(&[1_000, 6_000], format!("bus of {a} hangs"), format!("bus of {a} recovers"))
            }
            Kind::BusBreaks => self.moment_of(format!("bus of {a} breaks")),
            Kind::BusSilent => self.moment_of(format!("bus of {a} goes silent")),
            Kind::DatabaseSlow | Kind::AnswersLate | Kind::DatabaseCutOff | Kind::PoolExhausted => {
                self.database(kind, a)
            }
            Kind::OneChatsDatabase => self.database_of_one_chat(a),
            Kind::AnswerLate if self.rng.random_range(0..3) == 0 => self.last_renewal(a),
            Kind::AnswerLate => self.late_call(a),
            Kind::CallRefused | Kind::CallConflicts | Kind::AnswerLost => {
                let call = *CALLS.choose(self.rng).expect("there are some");
                let how = match kind {
                    Kind::CallRefused => "is refused",
                    Kind::CallConflicts => "conflicts",
                    _ => "loses its answer",
                };
                let of = if self.rng.random_range(0..3) == 0 { format!(" of {a}") } else { String::new() };
                self.moment_of(format!("next {call}{of} {how}"))
            }
            Kind::DialsHang | Kind::DialsFail | Kind::DialsLate => self.dials(kind, one, other),
            Kind::LinkBreaks => self.moment_of(format!("link between {one} and {other} breaks")),
            Kind::LinkSilent => self.moment_of(format!("link between {one} and {other} goes silent")),
            Kind::LinkCut => self.spell(
                &[300, 3_000, 8_000],
                format!("link between {one} and {other} is cut"),
                format!("link between {one} and {other} is joined"),
            ),
            Kind::LinkClogs => self.spell(
                &[300, 3_000],
                format!("link from {one} to {other} clogs"),
                format!("link from {one} to {other} flows"),
            ),
            Kind::LinkSlow => {
                let (least, more) = (self.ms(&[5, 50, 300]), self.ms(&[5, 50, 300]));
                self.spell(
                    &[2_000, 10_000],
                    format!("link between {one} and {other} takes {least}ms plus up to {more}ms"),
                    format!("link between {one} and {other} takes 1ms"),
                )
            }
            Kind::Crash => self.spell(&[500, 3_000], format!("{a} crashes"), format!("{a} restarts")),
            Kind::Vanish => self.spell(&[500, 6_000], format!("{a} vanishes"), format!("{a} restarts")),
            Kind::Pause => {
                let span = self.ms(&[100, 2_000, 6_000]);
                self.moment_of(format!("{a} pauses for {span}ms"))
            }
            Kind::Drain => self.spell(&[1_500, 4_000], format!("{a} drains"), format!("{a} restarts")),
            Kind::AnotherSecret => self.moment_of(format!("{a} restarts with another secret")),
            Kind::ClockDrifts => {
                let sign = if self.rng.random_range(0..2) == 0 { "gains" } else { "loses" };
                // If a clock is off by more than the lease's margin, only fences help.
                let drift = *[5, 10, 15, 100].choose(self.rng).expect("there are some");
                self.moment_of(format!("clock of {a} {sign} {drift} in a thousand"))
            }
            _ => unreachable!("{kind:?} is nothing that befalls a run"),
        }
    }

    fn database(&mut self, kind: Kind, a: &str) -> Vec<Line> {
        let of = if self.rng.random_range(0..3) == 0 { String::new() } else { format!(" of {a}") };
        let begin = match kind {
            Kind::DatabaseSlow => format!("is slow by {}ms", self.ms(&[20, 300, 2_000])),
            // Short ones let answers meet what was committed meanwhile; long ones outlast a lease's margin, a lease, or
            // whoever waits.
            Kind::AnswersLate => {
                let how = *["late by", "scattered over"].choose(self.rng).expect("there are some");
                format!("answers {how} {}ms", self.ms(&[20, 300, 2_000, 8_000]))
            }
            Kind::DatabaseCutOff => "is cut off".to_owned(),
            _ => "has no connection free".to_owned(),
        };
        self.spell(&[300, 3_000], format!("database{of} {begin}"), format!("database{of} recovers"))
    }

    /// What is asked for one chat is slow, and what is asked for the others is not.
    fn database_of_one_chat(&mut self, a: &str) -> Vec<Line> {
        let of = if self.rng.random_range(0..3) == 0 { String::new() } else { format!(" of {a}") };
        let chat = self.swarm.chat_name(self.rng.random_range(0..self.swarm.chats));
        let begin = match self.rng.random_range(0..4) {
            0 => "is cut off".to_owned(),
            1 => format!("answers late by {}ms", self.ms(&[300, 2_000, 4_000])),
            _ => format!("is slow by {}ms", self.ms(&[300, 2_000, 4_000])),
        };
        let whose = format!("database{of} for {chat}");
        self.spell(&[2_000, 6_000], format!("{whose} {begin}"), format!("{whose} recovers"))
    }

    /// The answer to a heartbeat comes late, and no later heartbeat gets through: the lease runs out by that one.
    fn last_renewal(&mut self, a: &str) -> Vec<Line> {
        let (at, lease) = (self.moment(), self.swarm.lease);
        let ms = Duration::from_millis;
        // While the lease still runs by the heartbeat before.
        let after = self.rng.random_range(lease / 5..lease * 6 / 10);
        let cut_off = at + ms(lease / 3);
        vec![
            once(at, format!("next heartbeat of {a} is answered after {after}ms")),
            once(cut_off, format!("database of {a} is cut off")),
            once(cut_off + ms(lease * 3 / 2), format!("database of {a} recovers")),
        ]
    }

    /// Some calls of one kind, one after the other, are carried out at once and answered late.
    fn late_call(&mut self, a: &str) -> Vec<Line> {
        let call = *CALLS.choose(self.rng).expect("there are some");
        let lease = self.swarm.lease;
        let after = self.ms(&[100, 1_000, lease, 12_000]);
        let of = if self.rng.random_range(0..2) == 0 { format!(" of {a}") } else { String::new() };
        let times = match self.rng.random_range(0..3) {
            0 => String::new(),
            _ => format!(" {} times", self.rng.random_range(2..8)),
        };
        self.moment_of(format!("next {call}{of} is answered after {after}ms{times}"))
    }

    fn dials(&mut self, kind: Kind, one: &str, other: &str) -> Vec<Line> {
        let how = match kind {
            Kind::DialsHang => "hang".to_owned(),
            Kind::DialsFail => "fail".to_owned(),
            _ => format!("take {}ms", self.ms(&[100, 700, 1_500])),
        };
        let link = format!("dials from {one} to {other}");
        let mut lines = self.spell(&[1_000, 5_000], format!("{link} {how}"), format!("{link} complete"));
        // If the replicas are connected already, they dial only after the connection breaks.
        if let Some(first) = lines.first() {
            let at = first.at + Duration::from_millis(1);
            lines.push(once(at, format!("link between {one} and {other} breaks")));
        }
        lines
    }
}

fn once(at: Duration, text: String) -> Line {
    Line { at, text }
}
