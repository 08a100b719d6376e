//! `jepsen allocator`: where replicas and leases go in a large cluster, by the product's own decisions on made-up ranges, without data.
//!
//! ```text
//!   start ─▶ each simulated second: nodes publish what they carry ─▶ each leader decides for its ranges ─▶ what was decided takes effect,
//!            snapshots after as long as their bytes take ─▶ … until nothing has moved for a while
//! ```
//!
//! It tells how long it takes until nodes carry alike, how many copies and leases moved, how few would have been enough, and that
//! everything comes to rest. What nodes see of each other is one or two seconds old, as in a cluster.

mod chart;
mod model;
mod page;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use model::{Model, Shape};

/// `jepsen allocator`.
#[derive(Clone, Debug, Args)]
pub struct AllocatorArguments {
    /// How many nodes.
    #[arg(long, default_value_t = 100)]
    pub nodes: usize,
    /// How many ranges.
    #[arg(long, default_value_t = 20_000)]
    pub ranges: usize,
    /// How it begins; each way in turn if it is not given.
    #[arg(long)]
    pub start: Option<Start>,
    /// What sizes, loads and places follow from.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Write the page with the plots into this file.
    #[arg(long)]
    pub output: Option<PathBuf>,
}

/// Where the replicas are when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Start {
    /// All on three nodes; the others have just joined, empty.
    Empty,
    /// All in one region of four.
    Region,
    /// Spread over all nodes; then one node in ten is lost for good.
    Lost,
}

impl Start {
    fn words(self) -> &'static str {
        match self {
            Start::Empty => "all copies on three nodes, the others empty",
            Start::Region => "all copies in one region of four",
            Start::Lost => "one node in ten lost for good",
        }
    }
}

/// Runs what was asked for.
///
/// # Errors
/// When the nodes do not carry alike in the end, or it does not come to rest.
pub fn run(arguments: &AllocatorArguments) -> Result<()> {
    ensure!(arguments.nodes >= 8 && arguments.ranges > 0, "at least 8 nodes and a range are needed");
    let starts = match arguments.start {
        Some(start) => vec![start],
        None => vec![Start::Empty, Start::Region, Start::Lost],
    };
    let shape = Shape { nodes: arguments.nodes, ranges: arguments.ranges, seed: arguments.seed };
    println!("{} nodes in 4 regions, {} ranges of 3 copies, seed {}", shape.nodes, shape.ranges, shape.seed);
    let mut outcomes = Vec::new();
    for start in starts {
        let began = Instant::now();
        let outcome = Model::new(shape, start).run();
        println!("\n{} ({:.0} s of computing)\n{outcome}", start.words(), began.elapsed().as_secs_f64());
        outcomes.push((start, outcome));
    }
    if let Some(path) = &arguments.output {
        std::fs::write(path, page::html(shape, &outcomes))?;
        println!("\nplots: {}", path.display());
    }
    for (start, outcome) in &outcomes {
        outcome.verdict().map_err(|words| anyhow::anyhow!("{}: {words}", start.words()))?;
    }
    Ok(())
}
