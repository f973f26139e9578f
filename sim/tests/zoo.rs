//! Every planted bug fits the current source. `cargo sim zoo`, which builds each, checks that they are
//! caught.

use std::path::Path;

use mainstem_sim::zoo;

#[test]
fn every_planted_bug_fits_the_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut names = zoo::fitting(&root).unwrap_or_else(|problem| panic!("{problem:#}"));
    names.retain(|name| name != "canary");
    let stories = std::fs::read_dir(root.join("scenarios")).expect("the stories can be listed");
    let stories = stories.filter_map(|story| story.expect("a story").file_name().into_string().ok());
    let mut races: Vec<_> =
        stories.filter_map(|story| Some(story.strip_suffix(".story")?.to_owned())).collect();
    races.retain(|name| name.starts_with('R'));
    races.sort();
    assert_eq!(names, races, "D3: left: planted bugs; right: the stories of races");
    assert!(names.len() >= 44, "R01 to R44 at the least: {names:?}");
}
