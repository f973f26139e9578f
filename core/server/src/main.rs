//! See [`mainstem::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mainstem::cli::main()
}
