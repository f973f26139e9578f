//! News and answers that are due (B3): who watches a chat is told what becomes of it, and who asks for something is
//! answered, within a bound, whatever befalls another chat, another viewer or another replica.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstem_machine::{Body, ChatId, Time, Version};

use crate::{
    Committed, Evidence, EvidenceIndex, FaultKind, Life, Name, Past, Ruling, Seen, StreamId, Watcher,
};

/// From a commit to the viewers of the chat, with notifications.
const TOLD_WITHIN: Duration = Duration::from_secs(1);
/// From a viewer's request to the end of what there was then.
const SYNCED_WITHIN: Duration = Duration::from_secs(2);
/// From a request to its answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, Default)]
pub(crate) struct OnTime {
    news: BTreeMap<StreamId, News>,
    requests: BTreeMap<(Name, Name), Request>,
    /// Streams on which not all was told that there was when they began, and since when.
    beginnings: BTreeMap<StreamId, Time>,
    /// Nothing is due before.
    soonest: Option<Time>,
}

/// The oldest change that a viewer was not told of yet.
#[derive(Clone, Debug)]
struct News {
    version: Version,
    /// Who committed it, and tells of it.
    by: Name,
    since: Time,
    /// When it is judged next.
    until: Time,
}

#[derive(Clone, Debug)]
struct Request {
    chat: ChatId,
    on: Name,
    since: Time,
}

impl OnTime {
    pub(crate) fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        let ruling = match self.soonest.is_some_and(|soonest| soonest < seen.at) {
            true => self.judge(seen),
            false => Ok(()),
        };
        match seen.evidence {
            Evidence::Committed(change) => self.expect(seen, change),
            Evidence::Saw { stream, event } => {
                if event.body == Body::Synced {
                    self.beginnings.remove(stream);
                }
                self.told(seen.index, *stream, event.cursor.snapshot_version);
            }
            Evidence::StreamEnded { stream, .. } => {
                self.news.remove(stream);
                self.beginnings.remove(stream);
            }
            Evidence::Watches { stream, caller, chat, .. } => {
                let past = seen.index.past(*chat);
                let present = past.and_then(Past::present);
                if present.is_some_and(|present| present.state.is_there_for(caller)) {
                    seen.ask();
                    self.beginnings.insert(*stream, seen.at);
                    self.look_at(seen.at + SYNCED_WITHIN);
                }
            }
            Evidence::Asked { caller, key, chat, on, .. } => {
                seen.ask();
                let request = Request { chat: *chat, on: on.clone(), since: seen.at };
                self.requests.insert((caller.clone(), key.clone()), request);
                self.look_at(seen.at + ANSWERED_WITHIN);
            }
            Evidence::Answered { caller, key, .. } if !self.requests.is_empty() => {
                self.requests.remove(&(caller.clone(), key.clone()));
            }
            Evidence::Unanswered { caller, key, .. } => {
                let request = self.requests.remove(&(caller.clone(), key.clone()));
                let lost = request.filter(|request| !seen.is_excused(delays(seen.index, caller, request)));
                if let Some(Request { chat, on, since }) = lost {
                    return Err(format!(
                        "{key} of {caller} about chat {chat} was sent to {on} at {since:?}, and its answer is lost"
                    ));
                }
            }
            // Whoever asked there asks again elsewhere.
            Evidence::Lived { replica, life } if *life != Life::Up => {
                self.requests.retain(|_, request| request.on != *replica);
            }
            _ => {}
        }
        ruling
    }

    fn look_at(&mut self, at: Time) {
        self.soonest = Some(self.soonest.map_or(at, |soonest| soonest.min(at)));
    }

    fn expect(&mut self, seen: &Seen<'_>, change: &Committed) {
        let (version, since) = (change.state.snapshot_version, seen.at);
        let until = since + TOLD_WITHIN;
        let watching = |watcher: &&Watcher| watcher.open && watcher.view.synced && !watcher.tainted;
        for watcher in seen.index.watchers().filter(watching).filter(|w| w.chat == change.chat) {
            if change.deleted {
                self.news.remove(&watcher.stream);
                continue;
            }
            seen.ask();
            let news = News { version, by: change.by.clone(), since, until };
            self.news.entry(watcher.stream).or_insert(news);
            self.look_at(until);
        }
    }

    /// A stream has come to a version. What was committed since then is still due.
    fn told(&mut self, index: &EvidenceIndex, stream: StreamId, version: Version) {
        if self.news.is_empty() {
            return;
        }
        let Some(news) = self.news.remove(&stream) else { return };
        if version < news.version {
            self.news.insert(stream, news);
            return;
        }
        let past = index.watcher(stream).and_then(|watcher| index.past(watcher.chat)).and_then(Past::last);
        if let Some(last) = past.filter(|last| last.state.snapshot_version > version && !last.deleted) {
            let (by, until) = (last.by.clone(), last.at + TOLD_WITHIN);
            self.news
                .insert(stream, News { version: last.state.snapshot_version, by, since: last.at, until });
        }
    }

    fn judge(&mut self, seen: &Seen<'_>) -> Ruling {
        let mut ruling = Ok(());
        self.news.retain(|stream, news| {
            if news.until >= seen.at {
                return true;
            }
            match judge_news(seen, *stream, news) {
                Ok(Some(due)) => *news = due,
                Ok(None) => return false,
                Err(why) if ruling.is_ok() => {
                    ruling = Err(why);
                    return false;
                }
                Err(_) => {}
            }
            true
        });
        self.requests.retain(|(caller, key), request| {
            if request.since + ANSWERED_WITHIN >= seen.at {
                return true;
            }
            if !seen.is_excused(delays(seen.index, caller, request)) && ruling.is_ok() {
                let Request { chat, on, since } = request;
                ruling = Err(format!(
                    "{key} of {caller} about chat {chat} was sent to {on} at {since:?}, and is not answered"
                ));
            }
            false
        });
        self.beginnings.retain(|stream, since| {
            if *since + SYNCED_WITHIN >= seen.at {
                return true;
            }
            if let Err(why) = judge_beginning(seen, *stream, *since)
                && ruling.is_ok()
            {
                ruling = Err(why);
            }
            false
        });
        let requests = self.requests.values().map(|request| request.since + ANSWERED_WITHIN);
        let beginnings = self.beginnings.values().map(|since| *since + SYNCED_WITHIN);
        self.soonest = self.news.values().map(|news| news.until).chain(requests).chain(beginnings).min();
        ruling
    }
}

/// `Some`: what is due still, and until when it may take. `None`: all is there, or excused.
fn judge_news(seen: &Seen<'_>, stream: StreamId, news: &News) -> Result<Option<News>, String> {
    let index = seen.index;
    let watcher = index.watcher(stream).filter(|w| w.open && w.stream == stream && !w.tainted);
    let Some(watcher) = watcher else { return Ok(None) };
    let Some(past) = index.past(watcher.chat) else { return Ok(None) };
    let Some(present) = past.present() else { return Ok(None) };
    // What changed and changed back is not told.
    let Some(difference) = watcher.view.difference(&present.state, &present.history) else { return Ok(None) };
    let news = first_untold(watcher, past, news);
    let (on, since) = (&watcher.on, news.since);
    if seen.is_excused(delays_stream(index, watcher, since)) {
        return Ok(None);
    }
    let until = since
        + index.lives.notice_of(&news.by, on, watcher.chat, since, index.settings.poll_interval)
        + TOLD_WITHIN;
    if until >= seen.at {
        return Ok(Some(News { until, ..news }));
    }
    Err(format!(
        "{} on {on} was to be told by {until:?} of version {}, which {} committed at {since:?}: {difference}",
        watcher.name, news.version, news.by
    ))
}

/// What a viewer shows may be as new as a later change, or a change may have nothing to show: then what came after it is due.
fn first_untold(watcher: &Watcher, past: &Past, news: &News) -> News {
    let since = past.moments.iter().rev().take_while(|moment| moment.state.snapshot_version >= news.version);
    let mut next = None;
    for moment in since {
        if watcher.view.difference(&moment.state, &moment.history).is_none() {
            break;
        }
        next = Some(moment);
    }
    next.filter(|moment| moment.state.snapshot_version > news.version).map_or_else(
        || news.clone(),
        |moment| News {
            version: moment.state.snapshot_version,
            by: moment.by.clone(),
            since: moment.at,
            until: moment.at + TOLD_WITHIN,
        },
    )
}

fn judge_beginning(seen: &Seen<'_>, stream: StreamId, since: Time) -> Ruling {
    let Some(watcher) = seen.index.watcher(stream) else { return Ok(()) };
    let there = seen.index.past(watcher.chat).and_then(Past::present).is_some();
    let (on, name) = (&watcher.on, &watcher.name);
    let dials = seen.index.lives.marks.dials(on, name, since);
    let befell = dials.or_else(|| delays_stream(seen.index, watcher, since));
    if !there || watcher.tainted || watcher.stream != stream || seen.is_excused(befell) {
        return Ok(());
    }
    Err(format!("{name} asked {on} at {since:?} for what there is, and has not been told all of it"))
}

/// What may keep what is told on a stream.
fn delays_stream(index: &EvidenceIndex, watcher: &Watcher, since: Time) -> Option<FaultKind> {
    let (lives, on) = (&index.lives, &watcher.on);
    let own = lives.hampered(on, watcher.chat, since).or_else(|| lives.marks.host(&watcher.name, since));
    own.or_else(|| lives.marks.link(on, &watcher.name, since)).or_else(|| lives.rests(on))
}

/// What may keep the answer.
fn delays(index: &EvidenceIndex, caller: &Name, request: &Request) -> Option<FaultKind> {
    let (lives, on, since) = (&index.lives, &request.on, request.since);
    let own = lives.rests(on).or_else(|| lives.hampered(on, request.chat, since));
    let own =
        own.or_else(|| lives.marks.link(on, caller, since)).or_else(|| lives.marks.dials(on, caller, since));
    own.or_else(|| lives.marks.host(caller, since))
}
