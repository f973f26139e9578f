//! What a turn and a part cost: `cargo measure-costs [-- ROW...] [--quick] [--rounds N] [--turns N] [--json FILE]`. The servers are what
//! ships; if `MAINSTEM_BENCH_EARLIER` names an earlier program, both are measured. docs/costs.md says what each row is.

use std::fs::File;
use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use mainstem_tests::costs::{Options, measure};

/// The program that is measured beside the one that ships.
const EARLIER: &str = "MAINSTEM_BENCH_EARLIER";
/// Anything that was asked for wrongly.
const USAGE: u8 = 2;

async fn told(options: &Options) -> anyhow::Result<()> {
    // That it cannot be written is told before anything is measured.
    let file = options
        .json
        .as_ref()
        .map(|path| File::create(path).with_context(|| format!("{} cannot be written", path.display())));
    let file = file.transpose()?;
    let report = measure(options, |table| println!("{table}")).await?;
    print!("{report}");
    if let Some(mut file) = file {
        writeln!(file, "{:#}", report.json())?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => Options { earlier: std::env::var_os(EARLIER).map(Into::into), ..options },
        Err(wrong) => {
            eprintln!("{wrong}");
            return ExitCode::from(USAGE);
        }
    };
    match told(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
