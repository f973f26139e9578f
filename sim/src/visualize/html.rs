//! A run as a self-contained page: a space-time diagram, and the same as a list. It needs only a browser and
//! no network, which a policy in the page forbids. Texts of users and models are never interpreted as markup.

use std::collections::BTreeMap;

use mainstem_machine::Time;
use serde::Serialize;

use crate::arrows::{Arrow, Change, Fate, Standing, Way};
use crate::run::{Outcome, Verdict};
use crate::trace::{Kind, Line};

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPTS: [&str; 9] = [
    include_str!("run.js"),
    include_str!("scale.js"),
    include_str!("words.js"),
    include_str!("happenings.js"),
    include_str!("diagram.js"),
    include_str!("list.js"),
    include_str!("page.js"),
    include_str!("selfcheck.js"),
    include_str!("start.js"),
];

/// The page of a run. If its trace was not kept, the diagram is empty.
pub fn page(title: &str, seed: u64, outcome: &Outcome) -> String {
    let data = serde_json::to_string(&Data::new(title, seed, outcome)).expect("numbers and texts");
    // Only `</` could end a script element.
    let data = data.replace('<', "\\u003c");
    let mut out = String::with_capacity(TEMPLATE.len() + STYLE.len() + data.len() + 64 * 1024);
    let mut rest = TEMPLATE;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").expect("the template is whole");
        out.push_str(before);
        match name {
            "title" => out.push_str(&escaped(title)),
            "style" => out.push_str(STYLE),
            "script" => SCRIPTS.iter().for_each(|script| out.push_str(script)),
            "data" => out.push_str(&data),
            name => unreachable!("the template asks for {name}"),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The data for the page's scripts. Names and texts are stored once, and referred to by index.
#[derive(Debug, Serialize)]
struct Data<'a> {
    title: &'a str,
    seed: u64,
    digest: String,
    verdict: Judgement,
    faults: Vec<(&'a str, u64)>,
    dropped: usize,
    lanes: Vec<Lane<'a>>,
    texts: Vec<&'a str>,
    /// Time, participant, kind, text.
    lines: Vec<(u64, usize, u8, usize)>,
    /// From, to, way, label, time sent, fate, time of the fate.
    arrows: Vec<(usize, usize, u8, usize, u64, u8, u64)>,
    /// Lane, state, from, to.
    spans: Vec<(usize, &'static str, u64, u64)>,
}

#[derive(Debug, Serialize)]
struct Judgement {
    clean: bool,
    title: String,
}

#[derive(Debug, Serialize)]
struct Lane<'a> {
    name: &'a str,
    role: Role,
}

/// The roles, in the order of their lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Client,
    Replica,
    Database,
    Bus,
}

impl<'a> Data<'a> {
    fn new(title: &'a str, seed: u64, outcome: &'a Outcome) -> Self {
        let lanes = lanes(outcome);
        let index_of =
            |name: &str| lanes.iter().position(|lane| lane.name == name).expect("everybody has a lane");
        let end = end(outcome);
        let mut texts = Texts::default();
        let lines = outcome.lines.iter().map(|line| {
            let Line { at, who, kind, what } = line;
            (at.as_micros(), texts.index_of(who), kind_code(*kind), texts.index_of(what))
        });
        let lines = lines.collect();
        let arrows = outcome.arrows.arrows.iter().map(|arrow| {
            let Arrow { from, to, way, label, sent, fate } = arrow;
            let (fate, until) = match fate {
                Fate::UnderWay => (0, end),
                Fate::Arrived(at) => (1, at.as_micros()),
                Fate::Lost(at) => (2, at.as_micros()),
            };
            let label = texts.index_of(label);
            (index_of(from), index_of(to), way_code(*way), label, sent.as_micros(), fate, until)
        });
        let arrows = arrows.collect();
        let spans = spans(&outcome.arrows.changes, end);
        let spans =
            spans.into_iter().map(|(who, state, from, to)| (index_of(who), state, from, to)).collect();
        Self {
            title,
            seed,
            digest: format!("{:016x}", outcome.digest),
            verdict: judgement(&outcome.verdict),
            faults: outcome.counts.faults.iter().map(|(fault, count)| (fault.as_str(), *count)).collect(),
            dropped: outcome.arrows.dropped,
            lanes,
            texts: texts.texts,
            lines,
            arrows,
            spans,
        }
    }
}

fn judgement(verdict: &Verdict) -> Judgement {
    let title = match verdict {
        Verdict::Clean => "clean".to_owned(),
        Verdict::Hung => "no end".to_owned(),
        Verdict::Logged(_) => "an error was logged".to_owned(),
        verdict => verdict
            .guarantee()
            .map_or_else(|| "an assertion failed".to_owned(), |id| format!("{id} is broken")),
    };
    Judgement { clean: matches!(verdict, Verdict::Clean), title }
}

/// All participants: clients, replicas, the database, the bus.
fn lanes(outcome: &Outcome) -> Vec<Lane<'_>> {
    let mut roles = BTreeMap::new();
    for change in &outcome.arrows.changes {
        roles.insert(change.who.as_str(), Role::Client);
    }
    for Arrow { from, to, way, .. } in &outcome.arrows.arrows {
        for name in [from, to] {
            let role = match (name.as_str(), way) {
                ("database", _) => Role::Database,
                ("bus", _) => Role::Bus,
                (_, Way::Client) => Role::Client,
                (_, Way::Relay | Way::Database | Way::Bus) => Role::Replica,
            };
            let known = roles.entry(name.as_str()).or_insert(role);
            *known = role.max(*known);
        }
    }
    let mut lanes: Vec<_> = roles.into_iter().map(|(name, role)| Lane { name, role }).collect();
    lanes.sort_by_key(|lane| (lane.role, lane.name));
    lanes
}

fn end(outcome: &Outcome) -> u64 {
    let lines = outcome.lines.last().map_or(Time::default(), |line| line.at);
    let arrows = outcome.arrows.arrows.last().map_or(Time::default(), |arrow| arrow.sent);
    let changes = outcome.arrows.changes.last().map_or(Time::default(), |change| change.at);
    lines.max(arrows).max(changes).as_micros()
}

/// The spans during which a participant was not up.
fn spans(changes: &[Change], end: u64) -> Vec<(&str, &'static str, u64, u64)> {
    let mut spans = vec![];
    let mut open: BTreeMap<&str, (&'static str, u64)> = BTreeMap::new();
    for Change { at, who, standing } in changes {
        let at = at.as_micros();
        if let Some((state, from)) = open.remove(who.as_str()) {
            spans.push((who.as_str(), state, from, at));
        }
        match standing {
            Standing::Up => {}
            Standing::Paused => drop(open.insert(who, ("paused", at))),
            Standing::Down => drop(open.insert(who, ("down", at))),
        }
    }
    spans.extend(open.into_iter().map(|(who, (state, from))| (who, state, from, end)));
    spans
}

#[derive(Default)]
struct Texts<'a> {
    texts: Vec<&'a str>,
    indexes: BTreeMap<&'a str, usize>,
}

impl<'a> Texts<'a> {
    fn index_of(&mut self, text: &'a str) -> usize {
        *self.indexes.entry(text).or_insert_with(|| {
            self.texts.push(text);
            self.texts.len() - 1
        })
    }
}

/// The index in `KINDS` of `run.js`.
fn kind_code(kind: Kind) -> u8 {
    match kind {
        Kind::Done => 0,
        Kind::Story => 1,
        Kind::Fault => 2,
        Kind::Logged => 3,
        Kind::Error => 4,
        Kind::Broken => 5,
    }
}

/// The index in `WAYS` of `run.js`.
fn way_code(way: Way) -> u8 {
    match way {
        Way::Client => 0,
        Way::Relay => 1,
        Way::Database => 2,
        Way::Bus => 3,
    }
}
