//! The failure drills of `docs/operations.md` that no other file has: what users see, and what operators see. The table there
//! names the test of each drill.

mod between;
mod clock;
mod database;
mod restore;

use mainstem_tests::metrics::Metrics;
use mainstem_tests::process::Replica;

/// A metric of a replica, summed over the samples with these labels.
async fn metric(replica: &Replica, name: &str, labels: &[(&str, &str)]) -> f64 {
    Metrics::of(replica).await.sum(name, labels)
}
