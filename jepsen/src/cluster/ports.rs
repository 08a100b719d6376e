//! Where nodes listen.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result, bail};

/// Where a node listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// On which address: loopback, unless the node has a network namespace.
    pub host: Ipv4Addr,
    /// SQL.
    pub sql: u16,
    /// Other nodes.
    pub rpc: u16,
    /// Health and metrics.
    pub http: u16,
}

/// So many ports that nobody listens on now.
///
/// # Errors
/// When the system has none left.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    // All are held at once, so that no port is given twice.
    let listeners = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<std::io::Result<Vec<_>>>()
        .context("no free port on loopback")?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

/// The first of so many neighbouring ports that nobody listens on now.
///
/// # Errors
/// When none were found.
pub fn free_port_run(count: u16) -> Result<u16> {
    for _ in 0..100 {
        let first = free_ports(1)?[0];
        let all: Option<Vec<TcpListener>> =
            (0..count).map(|more| TcpListener::bind(("127.0.0.1", first.checked_add(more)?)).ok()).collect();
        if all.is_some() {
            return Ok(first);
        }
    }
    bail!("no {count} neighbouring free ports on loopback")
}

/// Ports on loopback for so many nodes: from the given SQL port on (SQL, RPC and HTTP ports 100 apart), or any free ones.
pub(super) fn assign(nodes: usize, first_sql_port: Option<u16>) -> Result<Vec<Ports>> {
    let host = Ipv4Addr::LOCALHOST;
    if let Some(first) = first_sql_port {
        let ports =
            |index: u16| Ports { host, sql: first + index, rpc: first + 100 + index, http: first + 200 + index };
        return Ok((0..nodes as u16).map(ports).collect());
    }
    let free = free_ports(3 * nodes)?;
    Ok(free.chunks(3).map(|three| Ports { host, sql: three[0], rpc: three[1], http: three[2] }).collect())
}

/// The usual ports on an address that a node has for itself.
pub(super) fn alone_on(host: Ipv4Addr) -> Ports {
    Ports { host, sql: 7432, rpc: 7433, http: 7480 }
}
