//! See [`mainstem::cli`].

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A stream is many small objects that stay, made beside large ones that do not: the system's allocator keeps the room of those.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    mainstem::cli::main()
}
