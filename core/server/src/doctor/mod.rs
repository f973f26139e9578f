//! `mainstem doctor`: whether a replica with these settings would do well here. It takes what `serve` takes, becomes no
//! replica and changes nothing. Each thing that is looked at has its time: nothing that hangs keeps the others waiting.

mod bus;
mod database;
mod finding;
mod host;
mod peers;

use std::io::Write;
use std::sync::Arc;

use clap::Args;
use tokio::time::timeout;

pub use self::finding::Verdict;
use self::finding::{Finding, Report};
use crate::adapters::{examine_postgres, examine_sqlite, place_of_postgres};
use crate::config::{Config, ServeOptions};
use crate::failure::Failure;
use crate::limits::doctor::CHECK_TIMEOUT;
use crate::serve::peer_secret;

#[derive(Clone, Debug, Args)]
pub struct DoctorOptions {
    #[command(flatten)]
    pub serve: ServeOptions,
    /// Print what was found as JSON
    #[arg(long)]
    pub json: bool,
}

/// Looks at everything, and prints what was found. Answers how bad it is. Settings that contradict themselves are a failure
/// of usage, as they are to `serve`.
pub async fn doctor(options: DoctorOptions) -> Result<Verdict, Failure> {
    let file = options.serve.config.clone();
    let config = options.serve.into_config()?;
    let mut findings = vec![Finding::ok("configuration", "it makes sense")];
    let (of_database, files, addresses) =
        tokio::join!(of_database(&config), host::files(&config, file.as_deref()), host::addresses(&config));
    for more in [of_database, files, addresses, vec![host::descriptors(&config)]] {
        findings.extend(more);
    }
    let report = Report::new(findings);
    let text = if options.json { report.json() } else { report.text() };
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::environment)?;
    Ok(report.verdict)
}

/// The database, the bus, and whom the database knows.
async fn of_database(config: &Config) -> Vec<Finding> {
    if config.is_alone() {
        return match timeout(CHECK_TIMEOUT, examine_sqlite(&config.database)).await {
            Ok(examined) => database::of_sqlite(examined),
            Err(_) => vec![database::silent(&config.database, CHECK_TIMEOUT)],
        };
    }
    let (mut findings, examined) =
        match timeout(CHECK_TIMEOUT, examine_postgres(&config.database, config.lease_ttl)).await {
            Ok(Ok((examination, secret))) => {
                (database::of_postgres(config, &examination), Some((examination, secret)))
            }
            Ok(Err(why)) => (vec![database::of_unexamined(&why)], None),
            Err(_) => (vec![database::silent(&place_of_postgres(&config.database), CHECK_TIMEOUT)], None),
        };
    let of_peers = async {
        let Some((examination, kept)) = &examined else {
            return vec![Finding::warn(
                "peers",
                "the database was not looked at, which knows them",
                "mend it first",
            )];
        };
        // That a file of a secret is bad is said where files are looked at.
        let secret = match config.peer_secret_file {
            Some(_) => peer_secret(config).ok().flatten(),
            None => kept.clone().map(Arc::from),
        };
        peers::check(config, &examination.replicas, secret).await
    };
    let (of_bus, of_peers) = tokio::join!(bus::check(config, examined.is_some()), of_peers);
    findings.extend(of_bus);
    findings.extend(of_peers);
    findings
}
