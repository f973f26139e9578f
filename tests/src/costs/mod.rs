//! What a turn and a part cost: rows of figures of the shipped server, and of an earlier one beside it, in alternating rounds
//! on one machine. docs/costs.md says what each row is.
//!
//! Each measurement has a database and processes of its own, on a PostgreSQL of its row, and checks that what it measured did
//! happen. How fast anything is it does not judge.

mod audience;
mod creating;
mod database;
mod fan_out;
mod figures;
mod live;
mod options;
mod paced;
mod report;
mod requests;
mod threads;
mod turns;
mod yardstick;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, ensure};

use crate::postgres::{Postgres, Setup};
use crate::process::Replica;
use crate::shipped_binary::server_binary;
use figures::Measured;

pub use figures::Series;
pub use options::Options;
pub use report::{Report, Table};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    Turns,
    Creating,
    Live,
    LiveTurns,
    Paced,
    FanOut,
    Threads,
}

impl Row {
    pub const ALL: [Self; 7] =
        [Self::Turns, Self::Creating, Self::Live, Self::LiveTurns, Self::Paced, Self::FanOut, Self::Threads];

    pub fn name(self) -> &'static str {
        match self {
            Self::Turns => "turns",
            Self::Creating => "creating",
            Self::Live => "live",
            Self::LiveTurns => "live-turns",
            Self::Paced => "paced",
            Self::FanOut => "fan-out",
            Self::Threads => "threads",
        }
    }

    /// How much is measured, with units.
    fn extent(self, options: &Options) -> Measured {
        let is_quick = options.is_quick;
        match self {
            Self::Turns => vec![("chats", options.turns as f64)],
            Self::Creating => creating::extent(is_quick),
            Self::Live => live::extent(is_quick, false),
            Self::LiveTurns => live::extent(is_quick, true),
            Self::Paced => paced::extent(is_quick),
            Self::FanOut => fan_out::extent(is_quick),
            Self::Threads => threads::extent(is_quick),
        }
    }

    async fn measure(self, stage: &Stage, program: &Program) -> anyhow::Result<Measured> {
        match self {
            Self::Turns => turns::measure(stage, program).await,
            Self::Creating => creating::measure(stage, program).await,
            Self::Live => live::measure(stage, program, false).await,
            Self::LiveTurns => live::measure(stage, program, true).await,
            Self::Paced => paced::measure(stage, program).await,
            Self::FanOut => fan_out::measure(stage, program).await,
            Self::Threads => threads::measure(stage, program).await,
        }
    }
}

/// A program that serves.
#[derive(Clone, Debug)]
pub struct Program {
    /// Which one it is: `before` or `after`.
    pub name: &'static str,
    pub path: PathBuf,
    /// What it says of itself.
    pub version: String,
}

impl Program {
    fn of(name: &'static str, path: PathBuf) -> anyhow::Result<Self> {
        let said = Command::new(&path).arg("--version").env_clear().stdin(Stdio::null()).output();
        let said = said.with_context(|| format!("{} does not start", path.display()))?;
        ensure!(said.status.success(), "{} --version ended with {}", path.display(), said.status);
        Ok(Self { name, path, version: String::from_utf8_lossy(&said.stdout).trim().to_owned() })
    }

    /// What ships, and before it, if one is named, an earlier one.
    fn all(options: &Options) -> anyhow::Result<Vec<Self>> {
        let earlier = options.earlier.clone().map(|path| Self::of("before", path));
        let ships = Self::of("after", server_binary().to_owned());
        earlier.into_iter().chain([ships]).collect()
    }

    /// A replica as operators start it, with their intervals.
    async fn serve(&self, id: &str, database: &str, flags: &[&str]) -> Replica {
        Replica::start_of(&self.path, id, &[&["--database", database], flags].concat(), &[]).await
    }
}

/// What the measurements of a row have in common.
struct Stage {
    postgres: Arc<Postgres>,
    turns: usize,
    is_quick: bool,
}

impl Stage {
    /// A PostgreSQL as it comes: commits wait for the disk.
    fn new(options: &Options) -> anyhow::Result<Self> {
        let settings = vec!["shared_buffers=128MB".to_owned()];
        let postgres = Postgres::with(Setup { fsync: true, max_connections: 100, settings })?;
        Ok(Self { postgres: Arc::new(postgres), turns: options.turns, is_quick: options.is_quick })
    }
}

/// Measures what is asked for. `tell` gets each table when it is there.
pub async fn measure(options: &Options, mut tell: impl FnMut(&Table)) -> anyhow::Result<Report> {
    let mut report = Report::new(Program::all(options)?, options)?;
    for row in &options.rows {
        let stage = Stage::new(options)?;
        report.postgresql = stage.postgres.sql("postgres", "SHOW server_version")?;
        let mut measured = vec![vec![]; report.programs.len()];
        let mut beside = vec![vec![]; yardstick::POOLS.len()];
        for round in 0..options.rounds {
            for turn in 0..measured.len() {
                // Nobody is always the first.
                let at = (turn + round) % measured.len();
                let figures = row.measure(&stage, &report.programs[at]).await;
                let told = || format!("{} of {}, round {}", row.name(), report.programs[at].name, round + 1);
                measured[at].push(figures.with_context(told)?);
            }
            if *row == Row::Turns {
                for (pool, rounds) in yardstick::POOLS.into_iter().zip(&mut beside) {
                    let figures = yardstick::measure(&stage, pool).await;
                    rounds.push(figures.with_context(|| format!("the yardstick, round {}", round + 1))?);
                }
            }
        }
        let names = report.programs.iter().map(|program| program.name.to_owned());
        let mut tables = vec![Table::of(row.name(), row.extent(options), names.zip(&measured))];
        if *row == Row::Turns {
            let names = yardstick::POOLS.map(|pool| format!("pool_{pool}"));
            let extent = yardstick::extent(options.turns);
            let table = Table::of(yardstick::NAME, extent, names.into_iter().zip(&beside));
            tables.push(table.of_other(yardstick::version()?));
        }
        tables.iter().for_each(&mut tell);
        report.tables.extend(tables);
    }
    Ok(report)
}
