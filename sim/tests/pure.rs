//! `cargo sim walk` and `cargo sim explore`, as those meet them who call them.

use std::process::{Command, Output};

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mainstem-sim")).args(arguments).output().expect("the program starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_search_says_by_its_exit_code_whether_it_saw_everything() {
    let small = ["explore", "--faults", "0", "--parts", "0", "--moves", "0"];
    let whole = sim(&small);
    assert_eq!(whole.status.code(), Some(0), "{}", said(&whole));
    assert!(said(&whole).contains("seen        everything that is allowed"), "{}", said(&whole));
    for bound in [["--states", "20"], ["--depth", "5"]] {
        let part = sim(&[&small[..], &bound].concat());
        assert_eq!(part.status.code(), Some(6), "{}", said(&part));
        assert!(said(&part).contains("not everything"), "{}", said(&part));
    }
}

#[test]
fn walks_that_never_come_by_a_mark_fail_if_they_are_many() {
    // Without a choice there is only what starts and recovers.
    let walk = |seeds: &str| sim(&["walk", "--choices", "0", "--seeds", seeds]);
    let few = walk("0..50");
    assert_eq!(few.status.code(), Some(0), "{}", said(&few));
    let many = walk("0..5000");
    assert_eq!(many.status.code(), Some(1), "{}", said(&many));
    assert!(
        said(&many).contains("the mark \"a retry is recorded\" was never passed in 5000 seeds"),
        "{}",
        said(&many)
    );
}
