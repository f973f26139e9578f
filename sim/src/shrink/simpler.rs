//! Plans that are a little simpler than a given one. Most of them are no failures any more, and some are no
//! stories; who runs them finds out.

use std::time::Duration;

use crate::plan::{Line, Plan};

const PAIRED_LINES_MAX: usize = 30;
/// Half a minute.
const LONG_ANSWER: &str = "/model parts=600 every=50ms";

pub(super) fn without_lines(plan: &Plan, from: usize, count: usize) -> Plan {
    let mut simpler = plan.clone();
    let to = (from + count).min(simpler.lines.len());
    simpler.lines.drain(from..to);
    without_orphans(simpler)
}

/// Without any two lines, if there are not too many pairs to try.
pub(super) fn without_two_lines(plan: &Plan) -> Vec<Plan> {
    let lines = plan.lines.len();
    if lines > PAIRED_LINES_MAX {
        return vec![];
    }
    let pairs = (0..lines).flat_map(|first| (first + 1..lines).map(move |second| (first, second)));
    pairs.map(|(first, second)| without_lines(&without_lines(plan, second, 1), first, 1)).collect()
}

/// Without what is said of viewers that never came.
fn without_orphans(mut plan: Plan) -> Plan {
    let mut there: Vec<String> = vec![];
    plan.lines.retain(|line| {
        let mut words = words(&line.text);
        match (words.next(), words.next()) {
            (Some("viewer"), Some(name)) => {
                let mut rest = words.skip_while(|word| *word != "resumes").skip(1);
                let comes = rest.next().is_none_or(|of| there.iter().any(|known| known == of));
                if comes {
                    there.push(name.to_owned());
                }
                comes
            }
            (Some(name), _) if is_viewer(name) => there.iter().any(|known| known == name),
            _ => true,
        }
    });
    plan
}

/// As plans name them.
fn is_viewer(word: &str) -> bool {
    word.strip_prefix('V').is_some_and(|number| number.parse::<u64>().is_ok())
}

/// What has not happened yet has broken nothing.
pub(super) fn without_what_comes_after(plan: &Plan, until: Duration) -> Vec<Plan> {
    let mut simpler = plan.clone();
    simpler.lines.retain(|line| line.at <= until);
    if simpler.lines.len() == plan.lines.len() { vec![] } else { vec![simpler] }
}

/// Without one viewer, chat or replica, and whatever names it.
pub(super) fn without_a_name(plan: &Plan) -> Vec<Plan> {
    let mut names: Vec<String> = vec![];
    for word in plan.lines.iter().flat_map(|line| unquoted(&line.text)) {
        let of_somebody = word.starts_with("chat") || is_viewer(word) || is_replica(plan, word);
        if of_somebody && !names.iter().any(|name| name == word) {
            names.push(word.to_owned());
        }
    }
    names.sort_by_key(|name| std::cmp::Reverse(name.clone()));
    let without = |name: &String| {
        let mut simpler = plan.clone();
        simpler.lines.retain(|line| !names_it(line, name));
        for line in simpler.heading.iter_mut().filter(|line| line.starts_with("replicas ")) {
            *line = words(line).filter(|word| word != name).collect::<Vec<_>>().join(" ");
        }
        without_orphans(simpler)
    };
    names.iter().map(without).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace()
}

fn is_replica(plan: &Plan, word: &str) -> bool {
    let replicas = plan.heading.iter().filter(|line| line.starts_with("replicas "));
    replicas.flat_map(|line| words(line).skip(1)).any(|name| name == word)
}

/// What stands in quotes names nobody.
fn unquoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').step_by(2).flat_map(words)
}

fn names_it(line: &Line, name: &str) -> bool {
    unquoted(&line.text).any(|word| word == name)
}

/// Plans that are no simpler, with less to lead up to: a viewer that is elsewhere from the start, or comes later;
/// an answer that takes its time.
pub(super) fn changed(plan: &Plan) -> Vec<Plan> {
    let replicas = plan.heading.iter().filter(|line| line.starts_with("replicas "));
    let replicas: Vec<&str> = replicas.flat_map(|line| words(line).skip(1)).collect();
    let mut all = vec![];
    // The line with another text, behind a later one.
    let mut with = |at: usize, to: usize, text: String| {
        let mut changed = plan.clone();
        let mut line = changed.lines.remove(at);
        line.at = plan.lines[to].at;
        line.text = text;
        changed.lines.insert(to, line);
        all.push(changed);
    };
    for (at, line) in plan.lines.iter().enumerate() {
        if line.text.starts_with("viewer ")
            && let Some((head, rest)) = line.text.split_once(" on ")
            && let Some((there, tail)) = rest.split_once(' ')
        {
            for (to, other) in
                (at..plan.lines.len()).flat_map(|to| replicas.iter().map(move |name| (to, name)))
            {
                if to != at || *other != there {
                    with(at, to, format!("{head} on {other} {tail}"));
                }
            }
        }
        if let Some((head, rest)) = line.text.split_once('"')
            && let Some((script, tail)) = rest.split_once('"')
            && script.starts_with("/model ")
            && script != LONG_ANSWER
        {
            with(at, at, format!("{head}\"{LONG_ANSWER}\"{tail}"));
        }
    }
    all
}

/// Without one line of the heading. Who is there, and what is guarded, stays.
pub(super) fn without_a_setting(plan: &Plan) -> Vec<Plan> {
    let may_go = |line: &String| !line.starts_with("replicas ") && !line.starts_with("guards ");
    let at = (0..plan.heading.len()).filter(|at| may_go(&plan.heading[*at]));
    at.map(|at| {
        let mut simpler = plan.clone();
        simpler.heading.remove(at);
        simpler
    })
    .collect()
}

/// One line at a time: asked once instead of twice, a script of fewer parts and no specialties.
pub(super) fn plainer_lines(plan: &Plan) -> Vec<Plan> {
    let mut all = vec![];
    for (at, line) in plan.lines.iter().enumerate() {
        for text in plainer(&line.text) {
            let mut simpler = plan.clone();
            simpler.lines[at].text = text;
            all.push(simpler);
        }
    }
    all
}

fn plainer(text: &str) -> Vec<String> {
    let mut all = vec![];
    let plain: Vec<&str> = words(text).collect();
    if let Some(at) = plain.iter().position(|word| *word == "and").filter(|at| *at == 3) {
        let kept = plain.iter().enumerate().filter(|(n, _)| *n != at && *n != at + 1);
        all.push(kept.map(|(_, word)| *word).collect::<Vec<_>>().join(" "));
    }
    let Some((head, rest)) = text.split_once('"') else { return all };
    let Some((script, tail)) = rest.split_once('"') else { return all };
    for (at, word) in words(script).enumerate() {
        let without = |replacement: Option<&str>| {
            let changed = words(script).enumerate();
            let changed = changed.filter_map(|(n, word)| if n == at { replacement } else { Some(word) });
            format!("{head}\"{}\"{tail}", changed.collect::<Vec<_>>().join(" "))
        };
        match word.split_once('=') {
            Some(("parts", parts)) if parts.len() > 1 => {
                all.push(without(Some("parts=3")));
                all.push(without(Some("parts=9")));
            }
            Some(("parts" | "every", _)) | None => {}
            Some(_) => all.push(without(None)),
        }
    }
    all
}

/// All times at once, and one line at a time, rounded to what is easier to read.
pub(super) fn rounder_times(plan: &Plan) -> Vec<Plan> {
    let mut all = vec![];
    for grain in [1_000, 500, 100, 10] {
        let rounded: Vec<Duration> = plan.lines.iter().map(|line| round(line.at, grain)).collect();
        if rounded.iter().zip(&plan.lines).any(|(at, line)| *at != line.at) {
            let mut simpler = plan.clone();
            simpler.lines.iter_mut().zip(rounded).for_each(|(line, at)| line.at = at);
            all.push(simpler);
        }
    }
    for (n, line) in plan.lines.iter().enumerate() {
        for grain in [1_000, 100, 10] {
            let at = round(line.at, grain);
            let before = n.checked_sub(1).map_or(Duration::ZERO, |n| plan.lines[n].at);
            if at != line.at && at >= before && plan.lines.get(n + 1).is_none_or(|next| at <= next.at) {
                let mut simpler = plan.clone();
                simpler.lines[n].at = at;
                all.push(simpler);
                break;
            }
        }
    }
    all
}

fn round(at: Duration, grain: u64) -> Duration {
    let ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(ms / grain * grain)
}

#[cfg(test)]
mod tests {
    use super::{changed, plainer, rounder_times, without_a_name};
    use crate::plan::Plan;

    #[test]
    fn a_name_goes_with_all_that_says_it_and_texts_do_not_count() {
        let text = "seed 1\nguards S1\nreplicas A B\n\nat 5ms user on A sends \"B chat2\" to chat\n\
                    at 7ms viewer V1 on B watches chat\nat 1234ms B crashes\n";
        let plan = Plan::parse("x", text).unwrap();
        let simpler = without_a_name(&plan);
        let without_b = simpler.iter().find(|plan| plan.heading.contains(&"replicas A".into())).unwrap();
        assert_eq!(without_b.lines.len(), 1);
        assert!(without_b.to_story().is_ok());
    }

    #[test]
    fn viewers_may_be_elsewhere_and_come_later() {
        let text = "guards S1\nreplicas A B\n\nat 5ms viewer V1 on A watches chat\nat 9ms A crashes\n";
        let all: Vec<String> =
            changed(&Plan::parse("x", text).unwrap()).iter().map(Plan::to_string).collect();
        assert_eq!(all.len(), 3);
        assert!(all[0].ends_with("at 5ms viewer V1 on B watches chat\nat 9ms A crashes\n"));
        assert!(all[2].ends_with("at 9ms A crashes\nat 9ms viewer V1 on B watches chat\n"));
    }

    #[test]
    fn lines_and_times_become_plainer() {
        let all = plainer("user on A and B sends \"/model parts=120 every=5ms burst=3 x\" to chat");
        assert!(all.contains(&"user on A sends \"/model parts=120 every=5ms burst=3 x\" to chat".into()));
        assert!(all.contains(&"user on A and B sends \"/model parts=120 every=5ms x\" to chat".into()));
        assert!(all.contains(&"user on A and B sends \"/model parts=3 every=5ms burst=3 x\" to chat".into()));
        let plan = Plan::parse("x", "guards S1\nreplicas A\n\nat 1234ms A crashes\n").unwrap();
        let first = &rounder_times(&plan)[0];
        assert_eq!(first.lines[0].at.as_millis(), 1_000);
    }
}
