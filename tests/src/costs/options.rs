//! What is asked for on the command line.

use std::path::PathBuf;

use super::Row;

/// Rounds of each row, if nobody says otherwise.
const ROUNDS: usize = 5;
const ROUNDS_MAX: usize = 100;
/// Chats of `turns`.
const TURNS: usize = 4648;
const TURNS_QUICK: usize = 300;
const TURNS_MAX: usize = 1_000_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// In the order in which they are measured.
    pub rows: Vec<Row>,
    pub rounds: usize,
    /// The chats of `turns`, and the jobs of its yardstick.
    pub turns: usize,
    /// A fraction, which says that a row runs, and little of what it costs.
    pub is_quick: bool,
    /// Where all figures go.
    pub json: Option<PathBuf>,
    /// A program that is measured beside the one that ships. No argument names it.
    pub earlier: Option<PathBuf>,
}

impl Options {
    /// Out of the arguments behind the program's name. The error says what is wrong with them.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let (mut rows, mut rounds, mut turns, mut is_quick, mut json) = (vec![], None, None, false, None);
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match &*argument {
                // Cargo says so to every bench.
                "--bench" => {}
                "--quick" => is_quick = true,
                "--rounds" => rounds = Some(number("--rounds", arguments.next(), ROUNDS_MAX)?),
                "--turns" => turns = Some(number("--turns", arguments.next(), TURNS_MAX)?),
                "--json" => json = Some(arguments.next().ok_or("--json takes a file")?.into()),
                flag if flag.starts_with('-') => {
                    return Err(format!("{flag} is none of --quick, --rounds N, --turns N, --json FILE"));
                }
                name => {
                    let row = Row::ALL.into_iter().find(|row| row.name() == name);
                    let all = || Row::ALL.map(Row::name).join(", ");
                    rows.push(row.ok_or_else(|| format!("{name:?} is none of the rows {}", all()))?);
                }
            }
        }
        if rows.is_empty() {
            rows = Row::ALL.to_vec();
        }
        let rounds = rounds.unwrap_or(if is_quick { 1 } else { ROUNDS });
        let turns = turns.unwrap_or(if is_quick { TURNS_QUICK } else { TURNS });
        Ok(Self { rows, rounds, turns, is_quick, json, earlier: None })
    }
}

fn number(flag: &str, said: Option<String>, max: usize) -> Result<usize, String> {
    let said = said.unwrap_or_default();
    let number = said.parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| format!("{flag} takes a number from 1 to {max}, not {said:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn without_arguments_all_rows_are_measured() {
        let all = Options {
            rows: Row::ALL.to_vec(),
            rounds: ROUNDS,
            turns: TURNS,
            is_quick: false,
            json: None,
            earlier: None,
        };
        assert_eq!(parse("--bench"), Ok(all));
    }

    #[test]
    fn rows_and_flags_come_in_any_order() {
        let options = parse("--json x.json turns --quick --rounds 7 --turns 9").unwrap();
        let wanted = Options {
            rows: vec![Row::Turns],
            rounds: 7,
            turns: 9,
            is_quick: true,
            json: Some("x.json".into()),
            earlier: None,
        };
        assert_eq!(options, wanted);
        let quick = parse("--quick").unwrap();
        assert_eq!((quick.rounds, quick.turns), (1, TURNS_QUICK));
    }

    #[test]
    fn what_is_wrong_is_told_with_what_would_be_right() {
        for (line, told) in [
            ("turn", "turns"),
            ("--fast", "--quick"),
            ("--rounds", "1 to 100"),
            ("--rounds 0", "1 to 100"),
            ("--rounds 101", "1 to 100"),
            ("--rounds x", "\"x\""),
            ("--turns 1000001", "1 to 1000000"),
            ("--json", "file"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(told), "{line}: {error}");
        }
    }
}
