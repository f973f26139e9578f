//! The command lines, and how each ends.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing::Span;

use crate::client::{self, ChatOptions, LoadOptions, TailOptions};
use crate::config::{LogFormat, ServeOptions};
use crate::doctor::{self, DoctorOptions, Verdict};
use crate::failure::Failure;
use crate::logging;

/// Streams AI chats across replicas: every token once, in order
#[derive(Debug, Parser)]
#[command(name = "mainstem", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve chats
    Serve(Box<ServeOptions>),
    /// Tell whether a replica with these settings would do well here
    Doctor(Box<DoctorOptions>),
    /// Chat in the terminal
    Chat(ChatOptions),
    /// Print a chat's stream
    Tail(TailOptions),
    /// Generate traffic and judge every stream
    Load(LoadOptions),
}

/// Threads of a client. Few, because the servers it measures may run on the same processors.
const CLIENT_THREADS: usize = 2;

/// Runs the command given by the process's arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            logging::tell(one_line(&error.to_string()));
            logging::flush();
            return Failure::usage("").exit_code();
        }
        // Help or the version.
        Err(error) => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
    };
    let ended = match cli.command {
        Command::Serve(options) => serve(*options),
        // What it finds it says itself.
        Command::Doctor(options) => logged("off", doctor::doctor(*options)).map(|verdict| match verdict {
            Verdict::Fail => ExitCode::FAILURE,
            Verdict::Ok | Verdict::Warn => ExitCode::SUCCESS,
        }),
        Command::Chat(options) => as_client(client::chat(options)).map(|()| ExitCode::SUCCESS),
        Command::Tail(options) => as_client(client::tail(options)).map(|()| ExitCode::SUCCESS),
        Command::Load(options) => as_client(client::load(options))
            .map(|clean| if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
    };
    let code = ended.unwrap_or_else(|failure| {
        // A server may have said it.
        logging::tell(format_args!("error: {}", client::printable(&failure.to_string())));
        failure.exit_code()
    });
    logging::flush();
    code
}

fn serve(options: ServeOptions) -> Result<ExitCode, Failure> {
    let config = options.into_config()?;
    logging::start(&config.log, config.log_format)?;
    // A process is one replica, so all threads log its id. Spans of single tasks would be entered again for
    // every part.
    let replica = tracing::error_span!("serve", replica = %config.replica);
    logging::name(&replica);
    let runtime = runtime(config.runtime_threads, &replica)?;
    let _entered = replica.enter();
    let served = runtime.block_on(run(config));
    // Connections that clients hold open must not keep the process alive, nor must a look-up or a read of a file
    // that hangs.
    runtime.shutdown_background();
    served.map(|()| ExitCode::SUCCESS)
}

async fn run(config: crate::config::Config) -> Result<(), Failure> {
    crate::wiring::run(config).await
}

fn as_client<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    logged("warn", work)
}

/// Carries out a command that is no server, with this filter unless the environment has one.
fn logged<T>(filter: &str, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let filter = std::env::var("MAINSTEM_LOG").unwrap_or_else(|_| filter.into());
    logging::start(&filter, LogFormat::Text)?;
    let runtime = runtime(CLIENT_THREADS, &Span::none())?;
    let done = runtime.block_on(work);
    // A read of standard input cannot be cancelled.
    runtime.shutdown_background();
    done
}

/// A runtime whose threads are in `span` all the time.
fn runtime(threads: usize, span: &Span) -> Result<tokio::runtime::Runtime, Failure> {
    let span = span.clone();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.on_thread_start(move || std::mem::forget(span.clone().entered()));
    builder.worker_threads(threads).enable_all().build().map_err(Failure::environment)
}

/// The first paragraph of an error. The rest is usage, for which there is `--help`.
fn one_line(message: &str) -> String {
    let paragraph: Vec<&str> = message.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    format!("{} (see --help)", paragraph.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usage_error_is_one_line_that_names_the_flag() {
        for (args, named) in [
            (vec!["mainstem", "serve", "--workers", "x"], "--workers"),
            (vec!["mainstem", "serve", "--lease-ttl", "15"], "duration"),
            (vec!["mainstem", "serve", "--nonsense"], "--nonsense"),
            (vec!["mainstem", "sreve"], "sreve"),
        ] {
            let error = Cli::try_parse_from(args).expect_err("no usage").to_string();
            let line = one_line(&error);
            assert!(line.contains(named) && !line.contains('\n') && line.starts_with("error: "), "{line}");
        }
    }
}
