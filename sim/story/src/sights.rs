//! Whether viewers saw what a story expects of them, by the evidence that a judge has.

use mainstem_machine::{Body, Episode, FinishReason, Role, Seq, StreamEvent};
use mainstem_oracles::{Judge, Name};

use crate::ast::{Absence, Sight};

/// How many of these events to consume so that what is expected is among them; `None` if it is not.
pub fn find(judge: &Judge, news: &[(Name, StreamEvent)], sight: &Sight) -> Option<usize> {
    match sight {
        Sight::Parts { first, last, worker } => find_parts(judge, news, *first, *last, worker.as_deref()),
        sight => news.iter().position(|(_, event)| is_seen(judge, &event.body, sight)).map(|at| at + 1),
    }
}

/// The first of these events that must not be among them.
pub fn intruder<'a>(
    judge: &Judge,
    news: &'a [(Name, StreamEvent)],
    absence: &Absence,
) -> Option<&'a StreamEvent> {
    let breaks = |body: &Body| match (absence, body) {
        (Absence::SeesNothing { .. }, _)
        | (Absence::SeesNoReset { .. }, Body::PreviewReset { .. })
        | (Absence::SeesNoRetry { .. }, Body::Retry(_)) => true,
        (Absence::SeesNoPart { worker, .. }, Body::Parts { episode, .. }) => {
            worker.is_none() || producer(judge, *episode) == *worker
        }
        _ => false,
    };
    news.iter().map(|(_, event)| event).find(|event| breaks(&event.body))
}

/// How many events to consume, so that exactly the parts up to `last` are consumed.
fn find_parts(
    judge: &Judge,
    news: &[(Name, StreamEvent)],
    first: u64,
    last: u64,
    worker: Option<&str>,
) -> Option<usize> {
    let (mut need, mut of) = (first, None);
    for (at, (_, event)) in news.iter().enumerate() {
        let Body::Parts { episode, first_seq, last_seq, .. } = &event.body else { continue };
        if worker.is_some_and(|worker| producer(judge, *episode).as_deref() != Some(worker)) {
            continue;
        }
        if of.is_some_and(|of| of != *episode) {
            need = first;
        }
        of = Some(*episode);
        if first_seq.0 <= need && need <= last_seq.0 {
            need = last_seq.0 + 1;
        }
        if need > last {
            return Some(if last_seq.0 > last { at } else { at + 1 });
        }
    }
    None
}

fn is_seen(judge: &Judge, body: &Body, sight: &Sight) -> bool {
    match (sight, body) {
        (Sight::Status { status, worker }, Body::Status { status: actual, worker: on, .. }) => {
            let on = on.as_ref().map(|on| on.as_str());
            actual.as_str() == status && (worker.is_none() || worker.as_deref() == on)
        }
        (Sight::Message { text }, Body::Message(message)) => message.content.to_text() == *text,
        (Sight::Answer { parts, interrupted }, Body::Message(message)) => {
            let run = message.episode.and_then(|episode| judge.index().run_of(episode));
            let is_cut = *interrupted || message.finish_reason.is_some_and(FinishReason::is_cut);
            let of = Seq(*parts);
            message.role == Role::Assistant
                && message.interrupted == *interrupted
                && run.is_some_and(|run| {
                    run.last() >= of && run.blocks(of).are_kept_in(&message.content, is_cut)
                })
        }
        (Sight::PreviewReset { reason }, Body::PreviewReset { reason: actual, .. }) => {
            reason.as_deref().is_none_or(|reason| reason == actual.as_str())
        }
        (Sight::Queue { length }, Body::QueueUpdate(queue)) => queue.len() == *length,
        (Sight::Error { code }, Body::Error(error)) => {
            code.as_deref().is_none_or(|code| code == &*error.code)
        }
        (Sight::Retry { over }, Body::Retry(retry)) => retry.is_none() == *over,
        (Sight::HistoryReset, Body::HistoryReset) | (Sight::Synced, Body::Synced) => true,
        _ => false,
    }
}

/// The replica that generated an episode.
fn producer(judge: &Judge, episode: Episode) -> Option<String> {
    Some(judge.index().run_of(episode)?.replica.as_str().to_owned())
}

/// A short description of an event, without the texts of users or models.
pub fn describe(body: &Body) -> String {
    let at = |episode: &Episode| format!("{episode:?}");
    match body {
        Body::Message(message) => {
            let cut = if message.interrupted { ", interrupted" } else { "" };
            format!("message {} of {}{cut}", message.id, message.role.as_str())
        }
        Body::QueueUpdate(queue) => format!("queue of {}", queue.len()),
        Body::Status { status, worker, history_version, attempt, .. } => {
            let worker = worker.as_ref().map_or("nobody", |worker| worker.as_str());
            format!("status {} on {worker}, {history_version}.{attempt}", status.as_str())
        }
        Body::Error(error) => format!("error {}", error.code),
        Body::Retry(Some(retry)) => format!("retry of attempt {}", retry.attempt),
        Body::Retry(None) => "retry over".into(),
        Body::Parts { episode, first_seq, last_seq, .. } => {
            format!("parts {first_seq}..{last_seq} of {}", at(episode))
        }
        Body::PreviewReset { episode, reason } => {
            format!("preview_reset {} of {}", reason.as_str(), at(episode))
        }
        Body::HistoryReset => "history_reset".into(),
        Body::Synced => "synced".into(),
    }
}
