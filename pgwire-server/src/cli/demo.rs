//! `meridian demo`: a cluster in this process.
//!
//! The nodes are whole nodes, with logs, engines and a network of their own; they share the process, its clock and the runtimes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clock::SystemTime;
use kv::liveness::Locality;
use raft_groups::NodeId;

use super::args::Demo;
use super::start::stop_signal;
use crate::faults::LinkFault;
use crate::node::{Beginning, NodeOptions, RunningNode, Runtimes, StartingNode};

/// Names of regions, until there are more of them than names.
const REGIONS: [&str; 5] = ["amsterdam", "frankfurt", "dublin", "paris", "milan"];

pub(super) fn run(demo: &Demo) -> Result<()> {
    let runtimes = Runtimes::start()?;
    let (path, temporary) = directory(demo)?;
    let result = runtimes.clients.block_on(async {
        let nodes = start(demo, &path, &runtimes).await?;
        println!("{}", welcome(demo, &nodes, temporary));
        let fenced = futures::future::select_all(nodes.iter().map(|node| Box::pin(node.fenced())));
        let failed = futures::future::select_all(nodes.iter().map(|node| Box::pin(node.failed())));
        tokio::select! {
            signal = stop_signal() => signal?,
            (fault, _, _) = fenced => println!("\nthe clock must not be relied on: {fault}"),
            (failure, index, _) = failed => println!("\nnode {} cannot go on: {failure}", index + 1),
        }
        println!("stopping");
        for node in nodes {
            // Each hands its leases to those that are left.
            node.shutdown().await?;
        }
        Ok(())
    });
    runtimes.stop();
    if temporary {
        remove(&path);
    }
    result
}

/// Where the data goes, and whether it is to be removed at the end.
fn directory(demo: &Demo) -> Result<(PathBuf, bool)> {
    if let Some(path) = &demo.data {
        return Ok((path.clone(), false));
    }
    let path = std::env::temp_dir().join(format!("meridian-demo-{}", std::process::id()));
    std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok((path, true))
}

fn remove(path: &std::path::Path) {
    if let Err(error) = std::fs::remove_dir_all(path) {
        tracing::warn!(%error, "the demo's data in {} was not removed", path.display());
    }
}

fn region(demo: &Demo, index: u16) -> String {
    let number = usize::from(index % demo.regions);
    REGIONS.get(number).map_or_else(|| format!("region-{}", number + 1), |name| (*name).to_owned())
}

fn options(demo: &Demo, index: u16, path: &std::path::Path, beginning: Beginning) -> Result<NodeOptions> {
    let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    let locality: Locality = format!("region={}", region(demo, index)).parse().context("a region has a name")?;
    Ok(NodeOptions {
        data: path.join(format!("n{}", index + 1)),
        sql_addr: local(demo.sql_port + index),
        rpc_addr: local(0),
        advertise_addr: None,
        http_addr: local(demo.http_port + index),
        locality,
        // One process has one clock.
        time: Arc::new(SystemTime::with_error(Duration::ZERO)),
        max_clock_error: Duration::ZERO,
        settings: kv::Settings::default(),
        sql_memory_bytes: sql::DEFAULT_QUERY_MEMORY_BYTES,
        faulty: !demo.latency.is_zero(),
        fault_hooks: false,
        beginning,
    })
}

async fn start(demo: &Demo, path: &std::path::Path, runtimes: &Runtimes) -> Result<Vec<RunningNode>> {
    let first = StartingNode::open(options(demo, 0, path, Beginning::Bootstrap)?, runtimes).await?;
    let address = first.rpc_address().to_owned();
    let others = (1..demo.nodes).map(|index| {
        let join = Beginning::Join(vec![address.clone()]);
        async move {
            let node = StartingNode::open(options(demo, index, path, join)?, runtimes).await?;
            node.serve().await
        }
    });
    let (first, others) = tokio::join!(first.serve(), futures::future::try_join_all(others));
    let mut nodes = vec![first?];
    nodes.extend(others?);
    set_latency(demo, &nodes);
    Ok(nodes)
}

fn set_latency(demo: &Demo, nodes: &[RunningNode]) {
    for (from, node) in nodes.iter().enumerate() {
        for (to, peer) in nodes.iter().enumerate() {
            let apart = region(demo, from as u16) != region(demo, to as u16);
            if let (Some(faults), true) = (node.faults(), apart) {
                faults.set(NodeId(peer.node_id()), LinkFault { delay: demo.latency / 2, cut: false });
            }
        }
    }
}

fn welcome(demo: &Demo, nodes: &[RunningNode], temporary: bool) -> String {
    let mut lines = vec![format!("\nMeridian {}: {} nodes in this process\n", env!("CARGO_PKG_VERSION"), nodes.len())];
    for (index, node) in nodes.iter().enumerate() {
        let (sql, http) = (node.sql_addr(), node.http_addr());
        lines.push(format!(
            "  node {} in {:<10} psql -h {} -p {} -U postgres    postgresql://postgres@{sql}/postgres    http://{http}/metrics",
            node.node_id(),
            region(demo, index as u16),
            sql.ip(),
            sql.port(),
        ));
    }
    lines.push(match demo.latency {
        Duration::ZERO => "\n  The regions are next to each other; --latency 60ms puts them apart.".to_owned(),
        latency => format!("\n  Round trip between regions: {} ms.", latency.as_millis()),
    });
    lines.push(
        "  INSECURE: every connection from this machine is trusted, as postgres or root, without a password."
            .to_owned(),
    );
    if temporary {
        lines.push("  The data is gone when this ends. Ctrl-C ends it.".to_owned());
    }
    lines.join("\n")
}
