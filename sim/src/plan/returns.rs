//! Draws viewers that come with something: the messages up to one, there or not; what another device had seen a
//! while ago; a cursor of a future that the database does not know.

use std::time::Duration;

use rand::Rng;
use rand::seq::IndexedRandom;

use super::Line;
use super::swarm::{Kind, Swarm, weighted};
use crate::seed;

const KINDS: [Kind; 3] = [Kind::ViewerClaims, Kind::ViewerResumes, Kind::ViewerFromFuture];

/// `there`: viewers, and when each comes.
pub(super) fn draw(run: u64, swarm: &Swarm, there: &[(String, Duration)]) -> Vec<Line> {
    let mut lines = vec![];
    for kind in KINDS.into_iter().filter(|kind| swarm.is_on(*kind)) {
        let mut rng = seed::stream(run, &format!("returns {kind:?}"));
        for _ in 0..rng.random_range(1..=2) {
            let at = Duration::from_millis(rng.random_range(2_000..17_000));
            let (of, _) =
                match there.iter().filter(|(_, come)| *come < at).collect::<Vec<_>>().choose(&mut rng) {
                    Some(of) => *of,
                    None => continue,
                };
            let name = format!("V{}", there.len() + lines.len() + 1);
            let on = swarm.replicas.choose(&mut rng).expect("there are replicas");
            let what = match kind {
                Kind::ViewerClaims => {
                    let chat = rng.random_range(0..swarm.chats);
                    let but = match rng.random_range(0..6) {
                        0 => String::new(),
                        but => format!(" but {but}"),
                    };
                    let message = weighted(&mut rng, &[(3, "last"), (2, "cut"), (1, "never")]);
                    let message = match message {
                        "last" => format!("last message{but}"),
                        "cut" => "a message that was cut".to_owned(),
                        _ => "message 100000".to_owned(),
                    };
                    format!("watches {}", swarm.watched_after(chat, &format!(" after {message}")))
                }
                Kind::ViewerResumes => {
                    let most = *[4, 40, 400].choose(&mut rng).expect("there are some");
                    format!("resumes {of} {} events back", rng.random_range(1..=most))
                }
                _ => {
                    let more = if rng.random_range(0..2) == 0 { "" } else { " with more messages" };
                    format!("resumes {of} from a future{more}")
                }
            };
            lines.push(Line { at, text: format!("viewer {name} on {on} {what}") });
        }
    }
    lines
}
