//! Network namespaces: each node in one of its own, all on one bridge, so that the kernel's own packet filter cuts links.
//!
//! ```text
//!   this process ── bridge 10.x.y.254 ─┬─ node 1  10.x.y.1   iptables -A INPUT -s 10.x.y.2 -j DROP
//!                                      ├─ node 2  10.x.y.2   cuts the link from node 2 to node 1, and only in
//!                                      └─ node 3  10.x.y.3   that direction
//! ```
//!
//! A real cut is harsher than the transport's fault hook: connections stay open, acknowledgements are lost, and TCP's timers keep
//! growing until it is healed. Only root can make namespaces; [`Namespaces::obstacle`] says why not.
//!
//! Everything is named after this process and removed when dropped; what a killed process left behind goes at the next start.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};

const PREFIX: &str = "meridian-";

/// A namespace, to start a process in.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
    /// The node's address.
    pub address: Ipv4Addr,
    handle: Arc<File>,
}

impl Namespace {
    /// Makes a command's process start in this namespace.
    pub(super) fn place(&self, command: &mut tokio::process::Command) {
        let handle = Arc::clone(&self.handle);
        // SAFETY: between fork and exec only setns(2) is called, on a descriptor that the closure keeps open.
        unsafe {
            command.pre_exec(move || match libc::setns(handle.as_raw_fd(), libc::CLONE_NEWNET) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            })
        };
    }
}

/// The namespaces of a cluster and the bridge between them.
#[derive(Debug)]
pub struct Namespaces {
    bridge: String,
    nodes: Vec<Namespace>,
}

impl Namespaces {
    /// Why there can be none here; `None` when there can.
    pub fn obstacle() -> Option<String> {
        // SAFETY: geteuid(2) always succeeds and touches no memory of ours.
        if unsafe { libc::geteuid() } != 0 {
            return Some("only root can make network namespaces".to_owned());
        }
        let probe = format!("{PREFIX}{}-probe", std::process::id());
        let made = ip(&["netns", "add", &probe]).and_then(|()| {
            run("ip", &["netns", "exec", &probe, "iptables", "-A", "INPUT", "-s", "192.0.2.1", "-j", "DROP"])
        });
        let _ = ip(&["netns", "delete", &probe]);
        made.err().map(|error| format!("{error:#}"))
    }

    /// Makes so many, up to 200, and connects them.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn create(count: usize) -> Result<Namespaces> {
        sweep();
        let id = std::process::id();
        // A network for each process, so that two runs beside each other do not meet.
        let network = |host: u8| Ipv4Addr::new(10, 64 | (id >> 8 & 63) as u8, (id & 255) as u8, host);
        let bridge = format!("mb{id}");
        let mut namespaces = Namespaces { bridge: bridge.clone(), nodes: Vec::new() };
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        ip(&["address", "add", &format!("{}/24", network(254)), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        for index in 0..count {
            let number = u8::try_from(index + 1).context("so many nodes do not fit a network")?;
            let namespace = join(&bridge, id, number, network(number))?;
            namespaces.nodes.push(namespace);
        }
        Ok(namespaces)
    }

    /// The namespace of a node, counted from 0.
    pub fn node(&self, index: usize) -> &Namespace {
        &self.nodes[index]
    }

    /// Cuts or heals the link from one node to another, in this direction only. Does nothing when it is so already.
    ///
    /// # Errors
    /// When the packet filter refuses.
    pub fn set_cut(&self, from: usize, to: usize, cut: bool) -> Result<()> {
        let source = self.nodes[from].address.to_string();
        let rule = |action: &str| {
            let arguments =
                ["netns", "exec", &self.nodes[to].name, "iptables", "-w", action, "INPUT", "-s", &source, "-j", "DROP"];
            run("ip", &arguments)
        };
        let is_cut = rule("-C").is_ok();
        match (is_cut, cut) {
            (false, true) => rule("-A"),
            (true, false) => rule("-D"),
            _ => Ok(()),
        }
    }
}

/// Makes one namespace with a link to the bridge.
fn join(bridge: &str, id: u32, number: u8, address: Ipv4Addr) -> Result<Namespace> {
    let name = format!("{PREFIX}{id}-{number}");
    let (outer, inner) = (format!("mv{id}n{number}"), "eth0");
    ip(&["netns", "add", &name])?;
    ip(&["link", "add", &outer, "type", "veth", "peer", "name", inner, "netns", &name])?;
    ip(&["link", "set", &outer, "master", bridge, "up"])?;
    ip(&["-n", &name, "address", "add", &format!("{address}/24"), "dev", inner])?;
    ip(&["-n", &name, "link", "set", inner, "up"])?;
    ip(&["-n", &name, "link", "set", "lo", "up"])?;
    let path = Path::new("/run/netns").join(&name);
    let handle = File::open(&path).with_context(|| format!("{} cannot be opened", path.display()))?;
    Ok(Namespace { name, address, handle: Arc::new(handle) })
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        remove_of(std::process::id());
        let _ = ip(&["link", "delete", &self.bridge]);
    }
}

fn remove_of(id: u32) {
    for name in names().into_iter().filter(|name| owner(name) == Some(id)) {
        // The link in it goes with it.
        if let Err(error) = ip(&["netns", "delete", &name]) {
            tracing::warn!(%error, name, "a network namespace was not removed");
        }
    }
}

/// Removes what processes left behind that were killed.
fn sweep() {
    let dead = |id: &u32| !Path::new("/proc").join(id.to_string()).exists();
    for id in names().iter().filter_map(|name| owner(name)).filter(dead) {
        remove_of(id);
        let _ = ip(&["link", "delete", &format!("mb{id}")]);
    }
}

fn names() -> Vec<String> {
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The process that made a namespace, if it is one of ours.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

fn ip(arguments: &[&str]) -> Result<()> {
    run("ip", arguments)
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    let output = command.output().with_context(|| format!("{program} cannot be run"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), complaint.trim());
    Ok(())
}
