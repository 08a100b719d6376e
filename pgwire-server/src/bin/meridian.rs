//! The `meridian` binary: see `meridian --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    pgwire_server::cli::main()
}
