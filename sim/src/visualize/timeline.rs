//! A trace as text for a terminal: time, participant and text in columns. Faults are marked, and broken
//! guarantees are highlighted. The text has ANSI styles; printing it with `anstream` removes them where they
//! are not supported.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Effects, Style};
use mainstem_machine::Time;

use crate::trace::{Kind, Line};

/// Longer gaps are shown, in microseconds.
const QUIET_MIN: u64 = 1_000_000;
const WHO_MIN: usize = 8;
const WHO_MAX: usize = 16;
/// Colours of participants, in the order in which they appear. Marks have other colours.
const COLOURS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
    AnsiColor::BrightGreen,
];

/// Renders a trace. Print it with `anstream`, which removes styles where they are not supported.
pub fn render(lines: &[Line]) -> String {
    let mut people: Vec<&str> = vec![];
    for line in lines {
        if !is_scene(&line.who) && !people.contains(&line.who.as_str()) {
            people.push(&line.who);
        }
    }
    people.sort_unstable();
    let longest = lines.iter().map(|line| line.who.chars().count()).max().unwrap_or_default();
    let columns = Columns { people, width: longest.clamp(WHO_MIN, WHO_MAX) };
    let mut out = String::new();
    let mut last = None;
    for line in lines {
        columns.render(line, last, &mut out);
        last = Some(line.at);
    }
    out
}

/// Names that are not participants.
fn is_scene(who: &str) -> bool {
    matches!(who, "story" | "network" | "database" | "bus" | "product" | "judge" | "verdict")
}

struct Columns<'a> {
    people: Vec<&'a str>,
    width: usize,
}

impl Columns<'_> {
    fn render(&self, line: &Line, last: Option<Time>, out: &mut String) {
        let dim = Style::new().effects(Effects::DIMMED);
        let quiet = last.map_or(0, |last| line.at.as_micros().saturating_sub(last.as_micros()));
        if quiet >= QUIET_MIN {
            let seconds = quiet as f64 / 1e6;
            row(out, format_args!("{dim}{:>11}   {seconds:.1} s pass{dim:#}", "⋮"));
        }
        let micros = line.at.as_micros();
        let at = format!("{:>4}.{:06}", micros / 1_000_000, micros % 1_000_000);
        // Lines of the same moment leave the time empty.
        let when = if last == Some(line.at) { dim } else { Style::new() };
        let (mark, style) = mark(line.kind);
        let what = line.what.strip_prefix("fault: ").filter(|_| line.kind == Kind::Fault);
        let mut rest = what.unwrap_or(&line.what).lines();
        let (first, who, width) = (rest.next().unwrap_or_default(), self.style(line), self.width);
        let name = &line.who;
        row(
            out,
            format_args!(
                "{when}{at}{when:#} {style}{mark}{style:#} {who}{name:<width$}{who:#} {style}{first}{style:#}"
            ),
        );
        for more in rest {
            row(out, format_args!("{:>11} {style}│{style:#} {:width$} {style}{more}{style:#}", "", ""));
        }
    }

    fn style(&self, line: &Line) -> Style {
        match self.people.iter().position(|name| *name == line.who) {
            Some(at) => COLOURS[at % COLOURS.len()].on_default(),
            None if line.kind == Kind::Done => Style::new().effects(Effects::DIMMED),
            None => mark(line.kind).1,
        }
    }
}

fn row(out: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("a string takes what is written");
}

/// The mark before a line of this kind, and the style of the line.
fn mark(kind: Kind) -> (char, Style) {
    let bold = Style::new().bold();
    match kind {
        Kind::Done => (' ', Style::new()),
        Kind::Story => ('▸', bold),
        Kind::Fault => ('↯', AnsiColor::Yellow.on_default().bold()),
        Kind::Logged => ('·', Style::new().effects(Effects::DIMMED)),
        Kind::Error => ('✗', AnsiColor::Red.on_default().bold()),
        Kind::Broken => ('✗', AnsiColor::White.on(AnsiColor::Red).bold()),
    }
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::trace::{Kind, Line};
    use mainstem_machine::Time;

    fn plain(lines: &[(u64, &str, Kind, &str)]) -> Vec<String> {
        let line = |(at, who, kind, what): &(u64, &str, Kind, &str)| Line {
            at: Time::from_micros(*at),
            who: (*who).into(),
            kind: *kind,
            what: (*what).into(),
        };
        let text = render(&lines.iter().map(line).collect::<Vec<_>>());
        anstream::adapter::strip_str(&text).to_string().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_says_when_and_who_and_what_in_columns() {
        let rows = plain(&[
            (0, "story", Kind::Story, "A crashes"),
            (1, "A", Kind::Fault, "fault: crash: Process"),
            (1_000_001, "viewer-7", Kind::Done, "loses its stream"),
        ]);
        assert_eq!(rows[0], "   0.000000 ▸ story    A crashes");
        assert_eq!(rows[1], "   0.000001 ↯ A        crash: Process");
        assert_eq!(rows[2], "          ⋮   1.0 s pass");
        assert_eq!(rows[3], "   1.000001   viewer-7 loses its stream");
    }

    #[test]
    fn what_takes_several_lines_stays_in_its_column() {
        let rows = plain(&[(5, "verdict", Kind::Broken, "line 3: V sees it\nS3: it does not")]);
        assert_eq!(rows[0], "   0.000005 ✗ verdict  line 3: V sees it");
        assert_eq!(rows[1], "            │          S3: it does not");
    }
}
