//! Two runs side by side, as a page that needs only a browser: what happened in both stands in one row.

use std::fmt::Write as _;

use crate::trace::{Kind, Line};
use crate::visualize::html::escaped;

const STYLE: &str = include_str!("beside.css");
/// Pairs of lines that are compared. Of longer runs only the beginning and the end are laid side by side.
const PAIRS_MAX: usize = 4_000_000;

/// The page. Each run has a heading.
pub fn page(title: &str, one: (&str, &[Line]), other: (&str, &[Line])) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n<h1>{title}</h1>\n<table>\n<colgroup><col class=\"at\"><col class=\"who\"><col>\
         <col class=\"at\"><col class=\"who\"><col></colgroup>\n<thead><tr><th colspan=\"3\">\
         {}</th><th colspan=\"3\">{}</th></tr></thead>\n<tbody>\n",
        escaped(one.0),
        escaped(other.0),
        title = escaped(title),
    );
    for row in rows(one.1, other.1) {
        let class = if let (Some(_), Some(_)) = row { "both" } else { "one" };
        let _ = write!(out, "<tr class=\"{class}\">");
        for line in [row.0, row.1] {
            cells(line, &mut out);
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</html>\n");
    out
}

fn cells(line: Option<&Line>, out: &mut String) {
    let Some(line) = line else { return out.push_str("<td></td><td></td><td></td>") };
    let class = match line.kind {
        Kind::Story => "chosen",
        Kind::Fault => "fault",
        Kind::Broken | Kind::Error => "broken",
        Kind::Done | Kind::Logged => "done",
    };
    let seconds = line.at.as_micros() as f64 / 1e6;
    let (who, what) = (escaped(&line.who), escaped(&line.what));
    let _ = write!(
        out,
        "<td class=\"at\">{seconds:.3}</td><td class=\"who\">{who}</td><td class=\"{class}\">{what}</td>"
    );
}

type Row<'a> = (Option<&'a Line>, Option<&'a Line>);

/// The lines of both in order, with those that are the same in one row.
fn rows<'a>(one: &'a [Line], other: &'a [Line]) -> Vec<Row<'a>> {
    let same = |a: &Line, b: &Line| (&a.who, a.kind, &a.what) == (&b.who, b.kind, &b.what);
    let before = one.iter().zip(other).take_while(|(a, b)| same(a, b)).count();
    let (one_left, other_left) = (&one[before..], &other[before..]);
    let after = one_left.iter().rev().zip(other_left.iter().rev()).take_while(|(a, b)| same(a, b)).count();
    let (a, b) = (&one_left[..one_left.len() - after], &other_left[..other_left.len() - after]);
    let mut rows: Vec<Row<'a>> = one[..before].iter().zip(other).map(|(a, b)| (Some(a), Some(b))).collect();
    // The longest common sequence from each pair of places on.
    let width = b.len() + 1;
    let compared = a.len().saturating_mul(b.len()) <= PAIRS_MAX;
    let mut common = vec![0_u32; if compared { (a.len() + 1) * width } else { 0 }];
    if compared {
        for i in (0..a.len()).rev() {
            for j in (0..b.len()).rev() {
                common[i * width + j] = if same(&a[i], &b[j]) {
                    common[(i + 1) * width + j + 1] + 1
                } else {
                    common[(i + 1) * width + j].max(common[i * width + j + 1])
                };
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if compared && i < a.len() && j < b.len() && same(&a[i], &b[j]) {
            rows.push((Some(&a[i]), Some(&b[j])));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len()
            || (i < a.len() && (!compared || common[(i + 1) * width + j] >= common[i * width + j + 1]))
        {
            rows.push((Some(&a[i]), None));
            i += 1;
        } else {
            rows.push((None, Some(&b[j])));
            j += 1;
        }
    }
    let tail = one[one.len() - after..].iter().zip(&other[other.len() - after..]);
    rows.extend(tail.map(|(a, b)| (Some(a), Some(b))));
    rows
}

#[cfg(test)]
mod tests {
    use mainstem_machine::Time;

    use super::*;

    fn lines(texts: &str) -> Vec<Line> {
        let line = |what: char| Line {
            at: Time::from_micros(1),
            who: "a".into(),
            kind: Kind::Done,
            what: what.to_string(),
        };
        texts.chars().map(line).collect()
    }

    fn laid(one: &str, other: &str) -> String {
        let (one, other) = (lines(one), lines(other));
        let text = |line: Option<&Line>| line.map_or("-".to_owned(), |line| line.what.clone());
        rows(&one, &other).into_iter().map(|(a, b)| format!("{}{} ", text(a), text(b))).collect()
    }

    #[test]
    fn what_is_in_both_stands_in_one_row() {
        assert_eq!(laid("abc", "abc"), "aa bb cc ");
        assert_eq!(laid("abxcd", "abycd"), "aa bb x- -y cc dd ");
        assert_eq!(laid("abqcxd", "arbcyd"), "aa -r bb q- cc x- -y dd ");
        assert_eq!(laid("aa", "a"), "aa a- ");
        assert_eq!(laid("", "ab"), "-a -b ");
    }

    #[test]
    fn the_page_takes_no_text_for_markup() {
        let mut broken = lines("a");
        broken[0].what = "<script>&".into();
        let page = page("a <b>", ("fails", &broken), ("passes", &lines("b")));
        assert!(page.contains("&lt;script&gt;&amp;") && page.contains("a &lt;b&gt;"), "{page}");
        assert!(!page.contains("<script"), "{page}");
    }
}
