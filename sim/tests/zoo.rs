//! Every planted bug fits the current source. `cargo sim zoo`, which builds each, checks that they are
//! caught.

use std::path::Path;

use mainstem_sim::zoo;

#[test]
fn every_planted_bug_fits_the_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let names = zoo::fitting(&root).unwrap_or_else(|problem| panic!("{problem:#}"));
    assert!(names.len() >= 12, "R01 to R12 at the least: {names:?}");
}
