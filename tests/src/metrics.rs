//! The metrics that a replica shows, read as Prometheus reads them.

use std::collections::{BTreeMap, BTreeSet};

use crate::process::Replica;

/// One scrape.
#[derive(Debug, Default)]
pub struct Metrics {
    /// The families, each with its type.
    pub types: BTreeMap<String, String>,
    /// Each sample with its labels, sorted: `name{a="b"}`.
    samples: BTreeMap<(String, BTreeMap<String, String>), f64>,
}

impl Metrics {
    pub async fn of(replica: &Replica) -> Self {
        let answer = replica.internal().get("/metrics").await.expect(200);
        Self::parse(&answer.text)
    }

    pub fn parse(text: &str) -> Self {
        let mut metrics = Self::default();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type has a name");
                let before = metrics.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{name} is one family");
            } else if !line.starts_with('#') {
                let (sample, value) = line.rsplit_once(' ').expect("a sample has a value");
                let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
                let labels = labels.trim_end_matches('}').split_terminator(',').map(|label| {
                    let (key, value) = label.split_once('=').expect("a label has a value");
                    (key.to_owned(), value.trim_matches('"').to_owned())
                });
                let value = value.parse().expect("a number");
                let before = metrics.samples.insert((name.to_owned(), labels.collect()), value);
                assert_eq!(before, None, "{line} is said once");
            }
        }
        metrics
    }

    /// The sum of the samples of this name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |of: &BTreeMap<String, String>| {
            labels.iter().all(|(key, value)| of.get(*key).is_some_and(|is| is == value))
        };
        let found: Vec<_> = self.samples.iter().filter(|((n, of), _)| n == name && has(of)).collect();
        assert!(!found.is_empty(), "there is no {name} with {labels:?}");
        found.iter().map(|(_, value)| **value).sum()
    }

    /// The names of the labels of a family, but for a histogram's `le`.
    pub fn labels(&self, family: &str) -> BTreeSet<&str> {
        let of = |name: &str| {
            let rest = name.strip_prefix(family)?;
            matches!(rest, "" | "_bucket" | "_sum" | "_count").then_some(())
        };
        let samples = self.samples.keys().filter(|(name, _)| of(name).is_some());
        samples.flat_map(|(_, labels)| labels.keys().map(String::as_str)).filter(|key| *key != "le").collect()
    }
}
