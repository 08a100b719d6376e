//! `meridian node`: what an operator sees of the nodes, and how one leaves.

use std::time::Duration;

use anyhow::{Result, bail};
use kv::liveness::Membership;
use kv::node::message::{NodeAnswerKind, NodeRecord, NodeRequestKind, Ping, SetMembership};

use super::args::{Decommission, NodeCommand, Wait};
use super::remote::Remote;

/// How often a node that is to leave is asked how far it is.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How long a node that drains may keep leases for which there is another place.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) fn run(command: NodeCommand) -> Result<()> {
    match command {
        NodeCommand::Status(host) => Remote::run(&host.host, status),
        NodeCommand::Drain(host) => Remote::run(&host.host, drain),
        NodeCommand::Decommission(decommission) => {
            Remote::run(&decommission.nodes.host.host, async |remote| remove(remote, &decommission).await)
        }
        NodeCommand::Recommission(nodes) => Remote::run(&nodes.host.host, async |remote| {
            for node in &nodes.ids {
                set(remote, *node, Membership::Active).await?;
                println!("n{node} is active");
            }
            Ok(())
        }),
    }
}

async fn status(remote: &Remote) -> Result<()> {
    let NodeAnswerKind::Nodes(list) = remote.ask(NodeRequestKind::ListNodes(Ping {})).await? else {
        return Err(remote.strange());
    };
    print!("{}", table(&list.nodes));
    Ok(())
}

const HEADINGS: [&str; 10] =
    ["id", "address", "sql_address", "build", "locality", "is_live", "membership", "is_draining", "replicas", "leases"];

/// The nodes, a line each, in columns.
fn table(nodes: &[NodeRecord]) -> String {
    let count = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let cells = |node: &NodeRecord| {
        let (descriptor, status) = (&node.descriptor, node.status.as_ref());
        [
            descriptor.node_id.to_string(),
            descriptor.address.clone(),
            descriptor.sql_address.clone(),
            descriptor.version.clone(),
            descriptor.locality.to_string(),
            node.live.to_string(),
            node.membership().word().to_owned(),
            status.is_some_and(|status| status.draining).to_string(),
            count(status.map(|status| status.replicas)),
            count(status.map(|status| status.leases)),
        ]
    };
    let lines: Vec<[String; 10]> =
        std::iter::once(HEADINGS.map(str::to_owned)).chain(nodes.iter().map(cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    let padded = |line: &[String; 10]| {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    lines.iter().map(padded).collect()
}

async fn drain(remote: &Remote) -> Result<()> {
    let end = tokio::time::Instant::now() + DRAIN_TIMEOUT;
    let mut told = None;
    loop {
        let NodeAnswerKind::Drained(drained) = remote.ask(NodeRequestKind::Drain(Ping {})).await? else {
            return Err(remote.strange());
        };
        if told.replace(drained.leases) != Some(drained.leases) {
            println!("{} left", counted(drained.leases, "lease"));
        }
        if drained.leases == 0 {
            println!("drained: the process may be stopped");
            return Ok(());
        }
        if tokio::time::Instant::now() > end {
            let left = counted(drained.leases, "lease");
            bail!("{left} left that no other node can take: there is no live voter of the range elsewhere");
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Decides whether a node is to stay. Returns how many replicas it has.
async fn set(remote: &Remote, node_id: u64, membership: Membership) -> Result<u64> {
    let set = SetMembership { node_id, membership: membership.into() };
    match remote.ask(NodeRequestKind::SetMembership(set)).await? {
        NodeAnswerKind::MembershipSet(set) => Ok(set.replicas),
        _ => Err(remote.strange()),
    }
}

async fn remove(remote: &Remote, decommission: &Decommission) -> Result<()> {
    let nodes = &decommission.nodes.ids;
    for node in nodes {
        let replicas = set(remote, *node, Membership::Decommissioning).await?;
        println!("n{node} is being decommissioned: {} left", counted(replicas, "replica"));
    }
    if decommission.wait == Wait::None {
        return Ok(());
    }
    for node in nodes {
        let mut told = None;
        loop {
            let replicas = set(remote, *node, Membership::Decommissioning).await?;
            if replicas == 0 {
                break;
            }
            if told.replace(replicas) != Some(replicas) {
                println!("n{node}: {} left", counted(replicas, "replica"));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        set(remote, *node, Membership::Decommissioned).await?;
        println!("n{node} is decommissioned: its process ends by itself, and its data directory may be removed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kv::liveness::{NodeDescriptor, NodeStatus};

    use super::*;

    #[test]
    fn nodes_are_listed_in_columns() {
        let node = |node_id, address: &str| NodeRecord {
            descriptor: NodeDescriptor {
                node_id,
                address: address.to_owned(),
                sql_address: "127.0.0.1:7432".to_owned(),
                locality: "region=eu".parse().expect("a locality"),
                version: "0.1.0".to_owned(),
                ..NodeDescriptor::default()
            },
            status: Some(NodeStatus { replicas: 12, leases: 4, ..NodeStatus::default() }),
            live: true,
            membership: Membership::Decommissioning.into(),
        };
        let listed = table(&[node(1, "127.0.0.1:7433"), NodeRecord { status: None, ..node(10, "eu-1:7433") }]);
        let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], HEADINGS);
        let first = "1 127.0.0.1:7433 127.0.0.1:7432 0.1.0 region=eu true decommissioning false 12 4";
        assert_eq!(lines[1], first.split(' ').collect::<Vec<_>>());
        assert_eq!(lines[2][8..], ["?", "?"]);
        let starts: Vec<Option<usize>> = listed.lines().map(|line| line.find("region=eu")).collect();
        assert_eq!(starts[1], starts[2], "columns are aligned: {listed}");
    }
}
