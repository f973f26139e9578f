//! What code and documents say of each other. An id, a link, a file, a command, a flag or a code that is named
//! somewhere is there, and those that are there are documented.
//!
//! Each check is a function of texts, so that a test can show what it finds.

mod command_lines;
mod drills;
mod ids;
mod limits;
mod links;
mod problems;
mod tree;

use tree::Tree;

/// What a check found wrong, one line each.
type Wrong = Vec<String>;

fn nothing_wrong(wrong: &Wrong) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_id_that_is_named_is_a_guarantee_or_a_scenario() {
    nothing_wrong(&ids::check(&Tree::read()));
}

#[test]
fn every_link_and_every_file_that_is_named_is_there() {
    nothing_wrong(&links::check(&Tree::read()));
}

#[test]
fn no_comment_refers_to_a_text_that_it_does_not_name() {
    nothing_wrong(&links::check_unnamed(&Tree::read()));
}

#[test]
fn every_command_and_flag_is_documented_and_every_documented_one_exists() {
    nothing_wrong(&command_lines::check(&Tree::read()));
}

#[test]
fn every_limit_that_operators_are_told_is_the_one_that_there_is() {
    nothing_wrong(&limits::check(&Tree::read()));
}

#[test]
fn every_code_that_a_client_may_be_told_is_documented() {
    nothing_wrong(&problems::check(&Tree::read()));
}

#[test]
fn every_failure_drill_has_a_test() {
    nothing_wrong(&drills::check(&Tree::read()));
}

#[test]
fn every_check_of_the_doctor_is_documented() {
    nothing_wrong(&drills::check_doctor(&Tree::read()));
}
