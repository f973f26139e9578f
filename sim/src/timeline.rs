//! A trace for people: time, and one column for each who took part.

use crate::trace::Line;

/// Columns are as wide as fits, and never narrower than this.
const COLUMN_MIN: usize = 22;
const WIDTH: usize = 180;

/// Story lines and what happened in the network and the database stand across, the rest in its column.
pub fn in_columns(lines: &[Line]) -> String {
    let mut actors: Vec<&str> = vec![];
    for line in lines {
        if !is_wide(&line.who) && !actors.contains(&line.who.as_str()) {
            actors.push(&line.who);
        }
    }
    actors.sort_unstable();
    let width = (WIDTH / actors.len().max(1)).max(COLUMN_MIN);
    let mut out = format!("{:>12} ", "");
    for actor in &actors {
        out.push_str(&format!("{actor:<width$}"));
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    for line in lines {
        let micros = line.at.as_micros();
        out.push_str(&format!("{:>5}.{:06} ", micros / 1_000_000, micros % 1_000_000));
        match actors.iter().position(|actor| *actor == line.who) {
            Some(column) => {
                out.push_str(&" ".repeat(column * width));
                out.push_str(&line.what);
            }
            None if line.who == "story" => out.push_str(&format!("== {}", line.what)),
            None => out.push_str(&format!("-- {}: {}", line.who, line.what)),
        }
        out.push('\n');
    }
    out
}

fn is_wide(who: &str) -> bool {
    matches!(who, "story" | "network" | "database" | "product")
}

#[cfg(test)]
mod tests {
    use super::in_columns;
    use crate::trace::Line;
    use mainstem_machine::Time;

    #[test]
    fn everybody_has_a_column_and_the_story_stands_across() {
        let line = |at, who: &str, what: &str| Line {
            at: Time::from_micros(at),
            who: who.into(),
            what: what.into(),
        };
        let text = in_columns(&[line(0, "story", "A crashes"), line(1, "B", "dials"), line(2, "A", "dies")]);
        let rows: Vec<_> = text.lines().collect();
        assert!(rows[0].find('A') < rows[0].find('B'));
        assert!(rows[1].ends_with("== A crashes"));
        assert_eq!(rows[2].find("dials"), rows[0].find('B'));
    }
}
