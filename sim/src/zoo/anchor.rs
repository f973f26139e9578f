//! Where a bug is planted: its text, whatever the white space and the commas at the end of a list, so that it outlives
//! a new layout of the code; and, if that stands in several places, the function in which it is meant.

use std::ops::Range;

/// The places in `text` that say the same as `wanted`, in a function of that name if one is given.
pub(super) fn places(text: &str, wanted: &str, within: Option<&str>) -> Vec<Range<usize>> {
    let ends_in_comma = wanted.trim_end().ends_with(',');
    let (source, squeezed) = (squeezed(text), squeezed(wanted.trim_end().trim_end_matches(',')));
    let bodies = within.map(|name| bodies(text, &source, name));
    let is_within = |place: &Range<usize>| {
        bodies
            .as_ref()
            .is_none_or(|all| all.iter().any(|body| body.start <= place.start && place.end <= body.end))
    };
    let with_comma = |place: Range<usize>| match ends_in_comma {
        true => {
            let rest = &text[place.end..];
            let spaces = rest.len() - rest.trim_start().len();
            rest.trim_start().starts_with(',').then_some(place.start..place.end + spaces + 1)
        }
        false => Some(place),
    };
    let found = find(&source, &squeezed).into_iter().filter(|place| is_whole(text, place)).filter(is_within);
    found.filter_map(with_comma).collect()
}

/// Whether it does not begin or end in the middle of a word.
fn is_whole(text: &str, place: &Range<usize>) -> bool {
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let inside = &text[place.clone()];
    let before = is_word(text[..place.start].chars().next_back()) && is_word(inside.chars().next());
    let after = is_word(text[place.end..].chars().next()) && is_word(inside.chars().next_back());
    !before && !after
}

/// The characters that are no white space, each with its place, without commas at the end of a list.
fn squeezed(text: &str) -> Vec<(usize, char)> {
    let mut chars: Vec<_> = text.char_indices().filter(|(_, c)| !c.is_whitespace()).collect();
    let ends = |at: usize| chars.get(at + 1).is_none_or(|(_, next)| matches!(next, ')' | ']' | '}'));
    let keep: Vec<_> = (0..chars.len()).map(|at| chars[at].1 != ',' || !ends(at)).collect();
    let mut keep = keep.into_iter();
    chars.retain(|_| keep.next().unwrap_or(true));
    chars
}

fn find(source: &[(usize, char)], wanted: &[(usize, char)]) -> Vec<Range<usize>> {
    if wanted.is_empty() {
        return vec![];
    }
    let same = |window: &&[(usize, char)]| window.iter().map(|(_, c)| c).eq(wanted.iter().map(|(_, c)| c));
    let place = |window: &[(usize, char)]| {
        let (last, c) = window[window.len() - 1];
        window[0].0..last + c.len_utf8()
    };
    source.windows(wanted.len()).filter(same).map(place).collect()
}

/// The functions of this name, from their names to the brackets that close them.
fn bodies(text: &str, source: &[(usize, char)], name: &str) -> Vec<Range<usize>> {
    let heads = find(source, &squeezed(&format!("fn {name}")));
    let named = heads.into_iter().filter(|head| text[head.end..].starts_with(['(', '<']));
    named.filter_map(|head| Some(head.start..head.end + closed(&text[head.end..])?)).collect()
}

/// Where the first brace that opens is closed again.
fn closed(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(at + 1),
            '}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::places;

    const TEXT: &str = "
fn one(a: u8) -> u8 {
    call(
        a,
        b,
    );
    if a { last() }
}

fn two() {
    last()
}
";

    fn found(wanted: &str, within: Option<&str>) -> Vec<&'static str> {
        places(TEXT, wanted, within).into_iter().map(|place| &TEXT[place]).collect()
    }

    #[test]
    fn layout_does_not_matter() {
        assert_eq!(found("call(a, b);\n", None), ["call(\n        a,\n        b,\n    );"]);
        assert_eq!(found("    a,\n", None), ["a,"]);
        assert_eq!(found("all(a, b)", None), [""; 0], "it begins in the middle of a word");
        assert!(found("call(a, c);", None).is_empty() && found("  \n", None).is_empty());
    }

    #[test]
    fn what_stands_twice_is_told_apart_by_its_function() {
        assert_eq!(found("last()", None).len(), 2);
        for (within, expected) in [("one", 1), ("two", 1), ("tw", 0), ("three", 0)] {
            assert_eq!(found("last()", Some(within)).len(), expected, "{within}");
        }
    }
}
