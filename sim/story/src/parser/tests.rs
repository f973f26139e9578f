//! What is understood, and where errors point.

use super::parse;

const HEAD: &str = "guards S3\nreplicas A B C\n";

fn problem(line: &str) -> String {
    parse("x", &format!("{HEAD}{line}\n")).expect_err(line).to_string()
}

#[test]
fn errors_point_at_the_word_that_was_not_expected() {
    for (line, expected) in [
        ("viewer V at C watches chat", "3:10: expected `on`, found `at`"),
        ("viewer V on D watches chat", "3:13: expected the name of a replica of this story, found `D`"),
        ("within soon A has no dial to B", "3:8: expected a time like 500ms or 2s, found `soon`"),
        ("user sends", "3:11: expected a text in quotes, found the end of the line"),
        ("user sends \"one", "3:12: this quotation has no end on its line"),
        ("model on A says 3 parts loudly", "3:25: expected the end of the sentence, found `loudly`"),
        ("wait 5x", "3:6: `5x` is no number, no range like 1..3, and no time like 500ms, 2s or 1m"),
        (
            "next finish_trun loses its answer",
            "3:6: expected the name of a command, or of a call of the database, or `call`, found `finish_trun`",
        ),
        ("wait 3..1", "3:6: `3..1` is no range: it counts from 1, upwards"),
        (
            "A sleeps",
            "3:3: expected `crashes` or `restarts with another secret` or `vanishes` or `restarts` or `drains` or `pauses` or \
         `resumes`, found `sleeps`",
        ),
        (
            "V sees parts 1..3",
            "3:1: expected a sentence of this language, or the name of somebody in this \
         story, found `V`",
        ),
    ] {
        assert_eq!(problem(line), expected);
    }
}

#[test]
fn a_story_says_what_it_guards_and_who_is_there() {
    assert!(parse("x", "replicas A\n").expect_err("no guards").what.contains("guards"));
    assert!(parse("x", "guards S1\n").expect_err("nobody").what.contains("replicas"));
    let unknown = parse("x", "replicas A\n\nguards S1 S99\n").expect_err("no guarantee");
    assert_eq!((unknown.line, unknown.column), (3, 11), "{unknown}");
    assert!(unknown.what.contains("the id of a guarantee, like S3"), "{unknown}");
}

#[test]
fn a_sentence_keeps_its_line_and_its_words() {
    let story = parse("x", &format!("{HEAD}\n# a remark\n  wait 500ms   # and another\n")).unwrap();
    assert_eq!((story.sentences[0].line, story.sentences[0].text.as_str()), (5, "wait 500ms"));
}
