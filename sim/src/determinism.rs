//! D1: the same build and seed give the same trace, byte for byte, in another process.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// The internal subcommand that prints a trace and nothing else.
pub const TRACE_COMMAND: &str = "print-trace";

/// The first line at which two traces differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Counted from 1.
    pub line: usize,
    pub first: Option<String>,
    pub second: Option<String>,
}

/// Runs two programs, which may be the same, and compares the traces they print.
pub fn check(one: &Path, other: &Path, file: &str, seed: u64) -> io::Result<Option<Difference>> {
    let print = |program: &Path| {
        let mut command = Command::new(program);
        command.args([TRACE_COMMAND, file, "--seed", &seed.to_string()]);
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        started.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", program.display())))
    };
    let (first, second) = (print(one)?, print(other)?);
    let (first, second) = (first.wait_with_output()?, second.wait_with_output()?);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (first, second) = (text(&first.stdout), text(&second.stdout));
    for (program, trace) in [(one, &first), (other, &second)] {
        if trace.is_empty() {
            return Err(io::Error::other(format!("no trace of {file} came from {}", program.display())));
        }
    }
    Ok(compare(&first, &second))
}

fn compare(first: &str, second: &str) -> Option<Difference> {
    let (mut first, mut second) = (first.lines(), second.lines());
    let mut line = 0;
    loop {
        line += 1;
        match (first.next(), second.next()) {
            (None, None) => return None,
            (one, other) if one == other => {}
            (one, other) => {
                let owned = |text: Option<&str>| text.map(str::to_owned);
                return Some(Difference { line, first: owned(one), second: owned(other) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Difference, compare};

    #[test]
    fn the_first_difference_is_named_and_so_is_an_early_end() {
        assert_eq!(compare("a\nb\n", "a\nb\n"), None);
        let owned = |text: &str| Some(text.to_owned());
        let differ = Difference { line: 2, first: owned("b"), second: owned("c") };
        assert_eq!(compare("a\nb\nd", "a\nc\nd"), Some(differ));
        assert_eq!(compare("a\nb", "a"), Some(Difference { line: 2, first: owned("b"), second: None }));
    }
}
