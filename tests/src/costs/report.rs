//! All figures, as tables for people and as JSON for programs.

use std::fmt;
use std::time::SystemTime;

use anyhow::Context;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::figures::{Measured, Series};
use super::{Options, Program};

/// What a machine that does nothing else has in `/proc/loadavg` is near 0.
fn load_average() -> anyhow::Result<f64> {
    let said = std::fs::read_to_string("/proc/loadavg").context("the system has no /proc")?;
    said.split(' ').next().and_then(|first| first.parse().ok()).context("it begins with a number")
}

/// The figures of one row.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    /// How much was measured.
    pub(super) extent: Measured,
    /// What was measured, by what it was measured of.
    pub(super) columns: Vec<(String, Vec<Series>)>,
    /// Which program that is none of ours the columns are settings of.
    other: Option<String>,
}

impl Table {
    pub(super) fn of<'a>(
        name: &str,
        extent: Measured,
        columns: impl Iterator<Item = (String, &'a Vec<Measured>)>,
    ) -> Self {
        let columns = columns.map(|(column, rounds)| (column, Series::of(rounds))).collect();
        Self { name: name.to_owned(), extent, columns, other: None }
    }

    pub(super) fn of_other(self, program: String) -> Self {
        Self { other: Some(program), ..self }
    }

    /// Of the settings of another program those that had most of the first figure.
    fn better(&self) -> Option<&str> {
        self.other.as_ref()?;
        let of = |column: &&(String, Vec<Series>)| column.1[0].median();
        self.columns.iter().max_by(|a, b| of(a).total_cmp(&of(b))).map(|(name, _)| &**name)
    }

    /// The last column against the first, by medians, where they are two programs.
    fn ratio(&self, figure: usize) -> Option<f64> {
        let [(_, first), (_, last)] = &self.columns[..] else { return None };
        if self.other.is_some() {
            return None;
        }
        Some(last[figure].median() / first[figure].median()).filter(|ratio| ratio.is_finite())
    }

    fn json(&self) -> Value {
        let extent: Map<_, _> =
            self.extent.iter().map(|(name, value)| ((*name).into(), json!(value))).collect();
        let names = self.columns.first().map_or(&[][..], |(_, figures)| figures);
        let figures = names.iter().enumerate().map(|(at, series)| {
            let told = self.columns.iter().map(|(column, figures)| {
                let told = json!({"median": figures[at].median(), "rounds": figures[at].rounds});
                (column.clone(), told)
            });
            let mut told: Map<_, _> = told.collect();
            if let Some(ratio) = self.ratio(at) {
                told.insert("ratio".into(), json!(ratio));
            }
            (series.name.to_owned(), Value::from(told))
        });
        let mut told = json!({"extent": extent, "figures": figures.collect::<Map<_, _>>()});
        if let (Some(other), Some(better)) = (&self.other, self.better()) {
            told["program"] = json!(other);
            told["better"] = json!(better);
        }
        told
    }
}

/// A number with as many digits as are worth reading.
fn written(value: f64) -> String {
    let digits = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extent: Vec<_> = self.extent.iter().map(|(name, value)| format!("{name} {value}")).collect();
        writeln!(f, "{}: {}", self.name, extent.join(", "))?;
        if let (Some(other), Some(better)) = (&self.other, self.better()) {
            writeln!(f, "  {other}; the better one is {better}")?;
        }
        write!(f, "{:42}", "")?;
        for (column, _) in &self.columns {
            write!(f, " {column:>12}")?;
        }
        writeln!(f, "{}", if self.ratio(0).is_some() { "  ratio" } else { "" })?;
        let names = self.columns.first().map_or(&[][..], |(_, figures)| figures);
        for (at, series) in names.iter().enumerate() {
            write!(f, "  {:40}", series.name)?;
            for (_, figures) in &self.columns {
                write!(f, " {:>12}", written(figures[at].median()))?;
            }
            match self.ratio(at) {
                Some(ratio) => writeln!(f, "  {ratio:5.2}")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Report {
    pub programs: Vec<Program>,
    pub tables: Vec<Table>,
    pub(super) postgresql: String,
    date: String,
    cores: usize,
    load_average: f64,
    rounds: usize,
    is_quick: bool,
}

impl Report {
    pub(super) fn new(programs: Vec<Program>, options: &Options) -> anyhow::Result<Self> {
        Ok(Self {
            programs,
            tables: vec![],
            postgresql: String::new(),
            date: OffsetDateTime::from(SystemTime::now()).format(&Rfc3339)?,
            cores: std::thread::available_parallelism()?.get(),
            load_average: load_average()?,
            rounds: options.rounds,
            is_quick: options.is_quick,
        })
    }

    /// All figures, of each round too.
    pub fn json(&self) -> Value {
        let programs = self.programs.iter().map(|program| (program.name.to_owned(), json!(program.version)));
        let rows = self.tables.iter().map(|table| (table.name.clone(), table.json()));
        json!({
            "date": self.date, "cores": self.cores, "load_average_at_start": self.load_average,
            "postgresql": self.postgresql, "programs": programs.collect::<Map<_, _>>(),
            "rounds": self.rounds, "is_quick": self.is_quick, "rows": rows.collect::<Map<_, _>>(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cores, load, rounds) = (self.cores, self.load_average, self.rounds);
        writeln!(f, "{cores} cores, a load of {load} before it began, PostgreSQL {}", self.postgresql)?;
        for program in &self.programs {
            writeln!(f, "{}: {}, {}", program.name, program.version, program.path.display())?;
        }
        let quick =
            if self.is_quick { ", quick: these say that it runs, and little of what it costs" } else { "" };
        writeln!(f, "medians of {rounds} rounds{quick}")
    }
}
