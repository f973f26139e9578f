//! Each judge is shown a run in which its promise is broken, and all are shown one in which every promise is
//! kept (D3).

mod liveness;
mod safety;
mod scene;

use crate::ORACLES;

#[test]
fn every_guarantee_has_one_oracle() {
    let ids: Vec<_> = ORACLES.iter().map(|entry| entry.id).collect();
    let guarantees = [
        "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "L1", "L2", "L3", "L4", "L5", "B1",
        "B2", "B3",
    ];
    assert_eq!(ids, guarantees);
}
