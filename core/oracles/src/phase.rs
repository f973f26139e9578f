//! S9: a viewer that joins late sees what the others see: queue, retry, error, preview. A retry that was
//! announced begins no earlier than announced, whoever makes it.

use std::time::Duration;

use mainstem_machine::{Body, Command};

use crate::row::judge_phase;
use crate::{Committed, Evidence, FaultKind, Moment, Oracle, Ruling, Seen, View, Watcher};

/// The resolution of the database's clock.
const TICK: Duration = Duration::from_millis(1);

#[derive(Clone, Debug, Default)]
pub(crate) struct Phase;

impl Oracle for Phase {
    fn observe(&mut self, seen: &Seen<'_>) -> Ruling {
        if let Evidence::Committed(change) = seen.evidence {
            judge_attempt(seen, change)?;
            let Some(past) = seen.index.past(change.chat) else { return Ok(()) };
            let (before, after) = past.step();
            return judge_phase(before, after, change);
        }
        let Evidence::Saw { stream, event } = seen.evidence else { return Ok(()) };
        let Some(watcher) = seen.index.watcher(*stream) else { return Ok(()) };
        let moments = seen.index.past(watcher.chat).map_or(&[][..], |past| &past.moments);
        // What was so before what it shows is no news.
        let since = &moments[watcher.floor.min(moments.len())..];
        let was = |so: &dyn Fn(&Moment) -> bool| since.iter().rev().any(so);
        if matches!(event.body, Body::Synced | Body::QueueUpdate(_) | Body::Error(_) | Body::Retry(_)) {
            seen.ask();
        }
        let ruling = match &event.body {
            Body::Synced => judge_synced(seen, watcher, moments),
            Body::QueueUpdate(queue)
                if !was(&|m| {
                    m.state.queue_version == event.cursor.queue_version && m.state.queue[..] == queue[..]
                }) =>
            {
                Err(format!("this queue of {} was never committed", queue.len()))
            }
            Body::Error(error) if !was(&|m| m.state.error.as_ref() == Some(error)) => {
                Err(format!("the error {} was never committed", error.code))
            }
            Body::Retry(retry) if !was(&|m| m.state.retry == *retry) => Err("a retry that never was".into()),
            _ => Ok(()),
        };
        ruling.map_err(|why| format!("{} on {}: {why}", watcher.name, watcher.on))
    }
}

/// A worker waits by its own clock, and nobody waits for longer than the whole delay.
fn judge_attempt(seen: &Seen<'_>, change: &Committed) -> Ruling {
    let index = seen.index;
    let (Command::BeginAttempt { fence }, Some(past)) = (&change.command, index.past(change.chat)) else {
        return Ok(());
    };
    let Some(retry) = past.step().0.and_then(|before| before.state.retry.as_ref()) else { return Ok(()) };
    let delay = Duration::from_millis(retry.delay_ms);
    let early = retry.at.0.saturating_sub(change.state.updated_at.0);
    let early = Duration::from_millis(u64::try_from(early).unwrap_or(0));
    // What is written without a look at the database's clock may have been on its way for long.
    let early = early.min((past.announced(retry) + delay).since(seen.at));
    seen.ask();
    let tolerated = delay - index.lives.shortest(fence.replica.as_str(), delay);
    if early > TICK && early <= tolerated + TICK {
        seen.excuse(FaultKind::ClockDrifts);
    } else if early > TICK {
        return Err(format!("{} tries again {early:?} before the time that was announced", fence.replica));
    }
    Ok(())
}

/// The screen has to show a state no older than what other viewers at that replica have seen.
fn judge_synced(seen: &Seen<'_>, watcher: &Watcher, moments: &[Moment]) -> Ruling {
    let view = &watcher.view;
    let from = watcher.floor.max(watcher.expected.floor).min(moments.len());
    if !moments[from..].iter().rev().any(|moment| is_screen(view, moment)) {
        let newest = moments.last().map(|moment| moment.state.snapshot_version);
        return Err(format!(
            "what is shown at `synced` ({} queued, {:?}, error {:?}, retry {:?}) was so at no version since \
             others were shown it, up to {newest:?}",
            view.queue.len(),
            view.status,
            view.error,
            view.retry
        ));
    }
    judge_preview(seen, watcher)
}

fn judge_preview(seen: &Seen<'_>, watcher: &Watcher) -> Ruling {
    let index = seen.index;
    let Some((episode, seq)) = watcher.expected.parts else { return Ok(()) };
    let view = &watcher.view;
    let present =
        view.status.as_ref().is_some_and(|status| status.episode == episode && status.worker.is_some());
    let live =
        index.past(watcher.chat).and_then(|past| past.last()?.live()).map(|(live, _)| live) == Some(episode);
    let shown = view.preview.as_ref().filter(|preview| preview.episode == episode);
    let Some(run) = index.run(watcher.chat, episode) else { return Ok(()) };
    let lives = index.lives.replica(&watcher.on).map_or(0, |replica| replica.life) == watcher.expected.life;
    let others = index.watchers();
    let still =
        others.filter(|w| w.open && w.on == watcher.on && w.chat == watcher.chat && w.name != watcher.name);
    let held = still.filter_map(|w| w.reached).any(|(of, reached)| of == episode && reached >= seq);
    if present && live && lives && held && shown.is_none_or(|shown| shown.last_seq < seq) {
        // A worker whose lease has expired sends nothing, and its other viewers may have left.
        if seen.is_excused(index.may_have_expired(seen.at, run)) {
            return Ok(());
        }
        let last = shown.map(|shown| shown.last_seq);
        return Err(format!(
            "others there see {episode:?} up to part {seq}, and at `synced` it shows {last:?}"
        ));
    }
    Ok(())
}

fn is_screen(view: &View, moment: &Moment) -> bool {
    let state = &moment.state;
    let status = view.status.as_ref().is_some_and(|last| {
        (last.status, &last.worker, last.episode) == (state.status, &state.worker, state.present_episode())
    });
    status
        && view.queue == state.queue
        && view.error == state.error
        && view.retry == state.retry
        && moment.is_shown_by(view)
}
