//! The `meridian` binary: see `meridian --help`.

use std::process::ExitCode;

use pgwire_server::allocator::Counting;
use tikv_jemallocator::Jemalloc;

// The system's allocator keeps most of what a large query held; this one gives it back at once.
#[global_allocator]
static ALLOCATOR: Counting<Jemalloc> = Counting(Jemalloc);

/// What the allocator reads when the process starts: unused pages go back after this many milliseconds, by a thread of its own. An
/// arena for each processor instead of four: each keeps pages of its own.
#[allow(non_upper_case_globals, reason = "the allocator's name for it")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static malloc_conf: &[u8] = b"background_thread:true,percpu_arena:percpu,dirty_decay_ms:250,muzzy_decay_ms:0\0";

fn main() -> ExitCode {
    pgwire_server::cli::main()
}
