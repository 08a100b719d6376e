//! The command line.
//!
//! ```text
//!   meridian demo                  a whole cluster in this process, to try things on
//!   meridian start-single-node     one node by itself
//!   meridian start --join …        one node of a cluster, a process each
//!   meridian init                  makes nodes that were started with --join into a cluster
//!   meridian node …                status, drain, decommission, recommission
//! ```
//!
//! A command parses its arguments, assembles what it runs from [`crate::node`], and waits for a signal.

mod args;
mod demo;
mod files;
mod init;
mod node;
mod remote;
mod start;

use std::process::ExitCode;

use clap::Parser;

pub use args::{LogFormat, parse_duration};
pub use files::raise_file_limit;

use args::{Arguments, Command};

/// Runs the command that the process's arguments name.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    crate::logging::start(arguments.log_format, arguments.log_directives());
    raise_file_limit();
    sql::install_meter(crate::allocator::held_bytes);
    let result = match arguments.command {
        Command::Demo(demo) => demo::run(&demo),
        Command::StartSingleNode(start) => start::run_single(start),
        Command::Start(start) => start::run(start),
        Command::Init(init) => init::run(&init),
        Command::Node(command) => node::run(command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("meridian: {error:#}");
            ExitCode::FAILURE
        }
    }
}
