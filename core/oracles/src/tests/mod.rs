//! Each oracle has to find a run in which its guarantee is broken, and all of them have to accept a clean run
//! (D3).

mod liveness;
mod safety;
mod scene;

use crate::ORACLES;

#[test]
fn every_guarantee_has_one_oracle() {
    let mut ids: Vec<_> = ORACLES.iter().map(|entry| entry.id).collect();
    let guarantees = [
        "B1", "B2", "B3", "L1", "L2", "L3", "L4", "L5", "S1", "S10", "S2", "S3", "S4", "S5", "S6", "S7",
        "S8", "S9",
    ];
    ids.sort_unstable();
    assert_eq!(ids, guarantees);
}
