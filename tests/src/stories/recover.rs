//! The recovery phase at the end of a story: all faults are cleared, viewers have to agree with the database (L1), chats
//! come to rest (L2, L3, L6), and nothing is left of them (B2).

use std::time::Duration;

use mainstem_oracles::{Evidence, Guarantee, Standing, Violation, WorldFacts};
use mainstem_story::Workers;
use mainstem_world::Heard as Told;
use tokio::time::Instant;

use super::hosts::poll_interval;
use super::stage::{STEP, Stage};
use crate::court::patient;

/// How long chats have to come to rest, once no model or user adds anything.
const REST: Duration = Duration::from_secs(30);
/// How long the last dial may go on after the last viewer has gone.
const DIALS_END: Duration = Duration::from_secs(10);

impl Stage {
    /// Returns what the judge was told. `Err`: what it objects to.
    pub(super) async fn recover(mut self) -> Result<Vec<Told>, Violation> {
        for host in self.hosts.values_mut() {
            host.come_back().await;
        }
        self.court.ledger().say(Evidence::FaultsCleared);
        self.court.hear().await?;
        self.let_work(&Workers::Everybody).await;
        let settings = &self.settings;
        let bound = 2 * poll_interval(settings) + settings.lease_ttl + patient(Duration::from_secs(5));
        self.eventually(&[Guarantee::L1], bound).await?;
        self.puppets.finish_all();
        self.eventually(&[Guarantee::L2, Guarantee::L3, Guarantee::L6], bound + REST).await?;
        self.eventually(&[Guarantee::L1], bound).await?;
        self.viewers.clear();
        self.eventually(&[Guarantee::B2], patient(DIALS_END)).await?;
        self.court.close()
    }

    /// Waits until these guarantees hold.
    async fn eventually(&mut self, guarantees: &[Guarantee], bound: Duration) -> Result<(), Violation> {
        let over = Instant::now() + bound;
        loop {
            self.court.hear().await?;
            let Some((guarantee, why)) = self.missing(guarantees) else { return Ok(()) };
            if Instant::now() >= over {
                self.court.overdue(guarantee, format!("not within {bound:?} after the last fault: {why}"));
            }
            self.court.verdict()?;
            tokio::time::sleep(STEP).await;
        }
    }

    fn missing(&mut self, guarantees: &[Guarantee]) -> Option<(Guarantee, String)> {
        let viewers = self.viewers.values().map(|visitor| Standing {
            viewer: visitor.name.as_str().into(),
            chat: visitor.chat,
            connected: visitor.is_connected(),
        });
        // Of what a process keeps, dials that never end are seen from outside, and models that run for nothing.
        let dials = self.dials_in_flight();
        let left = (dials > 0).then(|| format!("{dials} dials are still in flight")).into_iter().collect();
        let facts = WorldFacts {
            viewers: viewers.collect(),
            unanswered: self.unanswered.count(),
            left,
            ..WorldFacts::default()
        };
        self.court.missing(guarantees, facts)
    }
}
