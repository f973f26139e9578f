//! Each oracle has to find a run in which its guarantee is broken, and all of them have to accept a clean run
//! (D3).

mod blocks;
mod isolation;
mod liveness;
mod returned;
mod rows;
mod safety;
mod scene;
mod tools;
mod turns;

use crate::{FaultKind, Guarantee, ORACLES};

#[test]
fn every_guarantee_has_one_oracle() {
    let mut ids: Vec<_> = ORACLES.iter().map(|entry| entry.id).collect();
    ids.sort_unstable();
    // D1 and D2 are the harness's.
    let judged = Guarantee::ALL.iter().filter(|id| !matches!(id, Guarantee::D1 | Guarantee::D2));
    assert!(ids.iter().eq(judged), "{ids:?}");
}

#[test]
fn names_are_read_as_they_are_written_and_no_others() {
    for guarantee in Guarantee::ALL {
        assert_eq!(guarantee.to_string().parse(), Ok(*guarantee));
    }
    for kind in FaultKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(*kind));
    }
    assert!("S99".parse::<Guarantee>().is_err_and(|why| why.to_string().contains("\"S99\"")));
    assert!("s1".parse::<Guarantee>().is_err() && "".parse::<Guarantee>().is_err());
    assert!("bus".parse::<FaultKind>().is_err_and(|why| why.to_string().contains("\"bus\"")));
}
