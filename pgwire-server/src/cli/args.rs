//! What the command line accepts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// What a node's statements and sessions may hold together, in mebibytes.
#[allow(clippy::cast_possible_truncation, reason = "a few hundred")]
const DEFAULT_SQL_MEMORY_MIB: u32 = (sql::DEFAULT_QUERY_MEMORY_BYTES >> 20) as u32;

/// A distributed SQL database that speaks PostgreSQL's protocol.
///
/// To try it: run `meridian demo`, then `psql -h 127.0.0.1 -p 7432 -U postgres` in another terminal.
#[derive(Debug, Parser)]
#[command(name = "meridian", version, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    /// What to log: a level (error, warn, info, debug, trace), or directives such as `info,kv=debug`.
    /// A demo logs warnings, a node what it does.
    #[arg(long, global = true, env = "MERIDIAN_LOG")]
    pub log: Option<String>,
    /// How log lines look.
    #[arg(long, global = true, default_value = "text", value_enum)]
    pub log_format: LogFormat,
}

impl Arguments {
    /// What to log: as told, or what suits the command. Below our own lines, a library's complaint about a peer that is not
    /// there yet says nothing to an operator: liveness reports peers.
    pub fn log_directives(&self) -> &str {
        match (&self.log, &self.command) {
            (Some(directives), _) => directives,
            (None, Command::Demo(_)) => "warn,openraft=error,openraft::raft::raft_inner=off",
            (None, _) => "info,openraft=error,openraft::raft::raft_inner=off,fjall=warn,lsm_tree=warn",
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start a whole cluster in this process, to try things on. Its data is gone when it ends.
    Demo(Demo),
    /// Start one node that is a cluster by itself.
    StartSingleNode(Start),
    /// Start one node of a cluster: one process on each machine, all with the same --join.
    ///
    /// The first time, run `meridian init` against any one of them once they are up.
    Start(Start),
    /// Make the nodes that were started with --join into a cluster. Once in a cluster's life.
    Init(Host),
    /// See the nodes of a running cluster, and take one out.
    #[command(subcommand)]
    Node(NodeCommand),
}

/// `meridian node …`
#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// Which nodes there are, and how they do.
    Status(Host),
    /// Have the node at --host take no more clients and hand its leases over, before its process is stopped.
    Drain(Host),
    /// Move everything that nodes hold to others, so that they can be removed for good.
    Decommission(Decommission),
    /// Keep nodes that are being decommissioned.
    Recommission(Nodes),
}

/// Whom a command asks.
#[derive(Debug, Args)]
pub(super) struct Host {
    /// RPC address of a node.
    #[arg(long, default_value = "127.0.0.1:7433")]
    pub host: String,
}

/// `meridian node recommission`
#[derive(Debug, Args)]
pub(super) struct Nodes {
    /// The IDs of the nodes, as `meridian node status` lists them.
    #[arg(required = true)]
    pub ids: Vec<u64>,
    #[command(flatten)]
    pub host: Host,
}

/// `meridian node decommission`
#[derive(Debug, Args)]
pub(super) struct Decommission {
    #[command(flatten)]
    pub nodes: Nodes,
    /// What to wait for: that the nodes hold nothing any more, or nothing. Only one that is waited for is gone for good.
    #[arg(long, default_value = "all", value_enum)]
    pub wait: Wait,
}

/// What `meridian node decommission` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Wait {
    /// That the nodes hold nothing.
    All,
    /// Nothing.
    None,
}

/// `meridian demo`
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub nodes: u16,
    /// How many regions to spread them over.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub regions: u16,
    /// Round trip between two regions, such as `20ms`. Nodes of one region are next to each other.
    #[arg(long, default_value = "0ms", value_parser = parse_duration)]
    pub latency: Duration,
    /// SQL port of the first node; the others take the next ones.
    #[arg(long, default_value_t = 7432)]
    pub sql_port: u16,
    /// HTTP port of the first node; the others take the next ones.
    #[arg(long, default_value_t = 7480)]
    pub http_port: u16,
    /// Keep the data in this directory instead of a temporary one.
    #[arg(long)]
    pub data: Option<PathBuf>,
}

/// `meridian start`, `meridian start-single-node`
#[derive(Debug, Args)]
pub(super) struct Start {
    /// Where the node keeps its data; made when it is not there.
    #[arg(long, default_value = "meridian-data", env = "MERIDIAN_DATA")]
    pub data: PathBuf,
    /// Where clients connect.
    #[arg(long, default_value = "127.0.0.1:7432")]
    pub sql_addr: SocketAddr,
    /// Where other nodes connect.
    #[arg(long, default_value = "127.0.0.1:7433")]
    pub rpc_addr: SocketAddr,
    /// Where other nodes are told to connect, when that differs from --rpc-addr.
    #[arg(long)]
    pub advertise_addr: Option<String>,
    /// Where /health and /metrics answer.
    #[arg(long, default_value = "127.0.0.1:7480")]
    pub http_addr: SocketAddr,
    /// RPC addresses of some nodes of the cluster, this one among them or not, separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub join: Vec<String>,
    /// Where the node stands, from the largest place to the smallest, such as `region=eu,zone=a`.
    #[arg(long, default_value = "")]
    pub locality: String,
    /// How far the clock may be off, at most. Each commit waits about twice as long as this before it is acknowledged;
    /// lower it (5ms, 1ms) where a time daemon keeps the clocks that close. It must be the same on all nodes.
    #[arg(long, default_value = "250ms", value_parser = parse_duration)]
    pub clock_error: Duration,
    /// The clock is maintained by a daemon such as chrony, and the kernel knows its error: use that, up to --clock-error.
    #[arg(long)]
    pub maintained_clock: bool,
    /// Trust every connection, without passwords or encryption, also from other machines.
    #[arg(long)]
    pub insecure: bool,
    /// How many nodes keep a copy of each range in a cluster that this node founds: an odd number. Of three copies one may be lost
    /// at a time, of five two. The range that all others are found by has five in any case, where there are five nodes. On other
    /// nodes it means nothing; later, SET CLUSTER SETTING cluster.replication_factor changes it for all.
    #[arg(long, default_value_t = 3, value_parser = parse_replication_factor)]
    pub replication_factor: usize,
    /// Split a range once it holds more than this many mebibytes.
    #[arg(long, default_value_t = 256)]
    pub range_split_mib: u64,
    /// Refuse writes when less than this many mebibytes are free on the disk.
    #[arg(long, default_value_t = 256)]
    pub disk_floor_mib: u64,
    /// How many mebibytes the statements and sessions of this node may hold together in memory. Sorts, joins and groups that need
    /// more use the disk, or are refused with 53200, as other statements are.
    #[arg(long, default_value_t = DEFAULT_SQL_MEMORY_MIB, value_parser = clap::value_parser!(u32).range(8..))]
    pub max_sql_memory_mib: u32,
    /// A node silent for longer is taken for dead, and the copies it held are made anew on others.
    #[arg(long, default_value = "5m", value_parser = parse_duration)]
    pub node_dead_after: Duration,
    /// Let tests break this node's links, clock and disk through its HTTP port.
    #[arg(long, hide = true)]
    pub fault_hooks: bool,
}

/// A duration with its unit: `250ms`, `2s`, `1m`, `800us`; `0` needs none.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "" if number.parse() == Ok(0.0) => 1.0,
        _ => return Err(format!("`{text}` needs a unit: us, ms, s or m, as in 250ms")),
    };
    let number: f64 = number.parse().map_err(|_| format!("`{number}` is not a number"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

/// An odd number of copies.
fn parse_replication_factor(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(copies @ (1 | 3 | 5 | 7 | 9)) => Ok(copies),
        _ => Err("expected 1, 3, 5, 7 or 9: an even number of copies survives no more than one fewer".to_owned()),
    }
}

#[cfg(test)]
mod tests;
