//! Where everything of a process runs.
//!
//! ```text
//!   raft     Raft, its log, the network between nodes     a thread a processor
//!   clients  connections, transactions, everything else   a thread a processor
//!   queries  planning and DataFusion's operators          a thread a query, of lower priority
//! ```
//!
//! A query computes for long between the places where it waits. With a thread of its own it delays nobody by more than its share of a
//! processor; with a lower priority it yields its processor at once to whatever serves clients or replicates.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, Runtime};

/// How long a runtime may take to end what it runs.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// As many queries as run at once; more than that wait for one to end. Those that wait for a lock or sleep have a thread too.
const MOST_QUERIES: usize = 4_096;
/// What a query's thread may put on its stack: planning goes as deep as a query is nested. Only what is touched takes memory.
const QUERY_STACK_BYTES: usize = 8 << 20;
/// How much a query's threads give way: at ten, a tenth of what the others have, where processors are short.
const QUERY_NICENESS: i32 = 10;

/// Where everything of a process runs. The threads are named after what they run.
pub struct Runtimes {
    /// Raft, its log, the network between nodes.
    pub raft: Runtime,
    /// Clients.
    pub clients: Runtime,
    /// Queries.
    pub queries: Runtime,
}

impl Runtimes {
    /// Starts them.
    ///
    /// # Errors
    /// When the system has no threads left.
    pub fn start() -> Result<Runtimes> {
        let start = |builder: &mut Builder, name: &str| {
            builder
                .thread_name(format!("meridian-{name}"))
                .enable_all()
                .build()
                .with_context(|| format!("the {name} runtime did not start"))
        };
        let mut queries = Builder::new_multi_thread();
        queries.max_blocking_threads(MOST_QUERIES).thread_stack_size(QUERY_STACK_BYTES).on_thread_start(give_way);
        Ok(Runtimes {
            raft: start(&mut Builder::new_multi_thread(), "raft")?,
            clients: start(&mut Builder::new_multi_thread(), "sql")?,
            queries: start(&mut queries, "query")?,
        })
    }

    /// Ends them, whatever still runs on them.
    pub fn stop(self) {
        self.clients.shutdown_timeout(STOP_TIMEOUT);
        self.queries.shutdown_timeout(STOP_TIMEOUT);
        self.raft.shutdown_timeout(STOP_TIMEOUT);
    }
}

/// Lowers the priority of the calling thread. Where the system does not let it, queries compete as equals.
fn give_way() {
    // SAFETY: the call takes numbers only. On Linux, 0 stands for the calling thread, not for its process.
    let lowered = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, QUERY_NICENESS) };
    if lowered != 0 {
        tracing::debug!("a query's thread keeps its priority");
    }
}
