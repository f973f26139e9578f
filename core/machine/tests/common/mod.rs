//! How many cases the laws are put to.

use std::num::NonZeroU32;

use proptest::test_runner::Config;

/// `LAWS_CASES` lowers the number for runs that repeat the laws often, as mutation testing does, and such runs
/// do not shrink what they find; otherwise `PROPTEST_CASES` may ask for more than `least`.
pub(crate) fn config(least: u32) -> Config {
    let default = Config { failure_persistence: None, ..Config::default() };
    let Ok(asked) = std::env::var("LAWS_CASES") else {
        return Config { cases: default.cases.max(least), ..default };
    };
    let cases: NonZeroU32 = asked.parse().expect("LAWS_CASES is a number of at least 1");
    Config { cases: cases.get(), max_shrink_iters: 0, ..default }
}
