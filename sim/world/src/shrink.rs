//! Shrinking: deletes choices while the same guarantee stays broken. What is left of a list of choices is a list of
//! choices, so nothing has to be repaired.

use mainstem_oracles::Guarantee;

use crate::choice::Choice;
use crate::recording::Recording;
use crate::walk::{Run, Verdict, replay};

/// What identifies a failure.
fn failure(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Clean => None,
        verdict => verdict
            .guarantee()
            .map(|id| id.to_string())
            .or_else(|| Some(verdict.to_string().chars().take(60).collect())),
    }
}

/// The shortest list of choices that was found, and its verdict. A clean run stays as it is.
pub fn shrink(run: &Run, without: &[Guarantee]) -> Run {
    let Some(wanted) = failure(&run.verdict) else { return run.clone() };
    let mut best = run.clone();
    loop {
        let before = best.recording.choices.len();
        let mut size = (before / 2).max(1);
        loop {
            let mut at = 0;
            while at < best.recording.choices.len() {
                let mut fewer: Vec<Choice> = best.recording.choices.clone();
                fewer.drain(at..(at + size).min(best.recording.choices.len()));
                let fewer = Recording { choices: fewer, ..best.recording };
                let verdict = replay(&fewer, without);
                if failure(&verdict).as_ref() == Some(&wanted) {
                    best = Run { recording: fewer, verdict };
                } else {
                    at += size;
                }
            }
            if size == 1 {
                break;
            }
            size /= 2;
        }
        if best.recording.choices.len() == before {
            return best;
        }
    }
}
