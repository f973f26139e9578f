//! The streams of one viewer, one after the other, told to a judge event by event.

use std::collections::BTreeMap;

use mainstem_machine::{ChatId, Time};

use crate::{Record, Stream, View, Violation};

/// One viewer of one chat, over all its streams.
pub(crate) struct Chain<'a> {
    pub(crate) viewer: &'a str,
    pub(crate) chat: ChatId,
    pub(crate) streams: Vec<&'a Stream>,
}

pub(crate) fn of(record: &Record) -> Vec<Chain<'_>> {
    let mut chains: BTreeMap<(&str, ChatId), Vec<&Stream>> = BTreeMap::new();
    for stream in &record.streams {
        chains.entry((&stream.viewer, stream.chat)).or_default().push(stream);
    }
    chains.into_iter().map(|((viewer, chat), streams)| Chain { viewer, chat, streams }).collect()
}

impl Chain<'_> {
    /// Hands each event to `judge` with what was shown before it. The first thing found ends the chain: what
    /// comes after it is judged on a wrong footing.
    pub(crate) fn walk(
        &self,
        found: &mut Vec<Violation>,
        mut judge: impl FnMut(&View, &Event<'_>) -> Result<(), (&'static str, String)>,
    ) {
        let mut view = View::default();
        for stream in &self.streams {
            view.begin(stream.from);
            let begins = Event::Begins(stream);
            let events = stream.events.iter().map(|(at, event)| (*at, Event::Told(event)));
            for (at, event) in std::iter::once((stream.connected, begins)).chain(events) {
                if let Err((guarantee, why)) = judge(&view, &event) {
                    found.push(self.violation(guarantee, at, &stream.on, &why));
                    return;
                }
                if let Event::Told(event) = event {
                    view.apply(&event.body);
                }
            }
        }
    }

    fn violation(&self, guarantee: &'static str, at: Time, on: &str, why: &str) -> Violation {
        Violation { guarantee, at, why: format!("viewer {} on {on}: {why}", self.viewer) }
    }
}

pub(crate) enum Event<'a> {
    /// A stream begins.
    Begins(&'a Stream),
    Told(&'a mainstem_machine::StreamEvent),
}
