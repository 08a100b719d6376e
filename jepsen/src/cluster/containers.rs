//! Containers: each node in one of its own, one network for each region, all by way of a Docker engine on this machine.
//!
//! ```text
//!   127.0.0.1:port ─ clients ─┬─ node 1 ─ at 10.x.y.2 on network r1 ─┐
//!                             ├─ node 2 ─ at 10.x.y.19 on network r2 ─┤  each node is on all of these networks,
//!                             └─ node 3 ─ at 10.x.y.36 on network r3 ─┘  and known by its address in its own region
//! ```
//!
//! A call from node 1 to node 2 goes by network r2. Taking node 1 off that network cuts its calls to node 2 and the answers to
//! them, while node 2 still calls node 1 by way of r1; taking each off the other's network parts them. The networks of the regions lead
//! nowhere else, and what is sent while a node is off one is lost without a word, as on a real cable. Clients have a network of their own,
//! which nodes do not know each other's addresses on and which is never cut.
//!
//! The image holds the `meridian` binary and the shared libraries it needs, and is built from nothing: no base image is asked for.
//!
//! Everything carries this process's ID. A container goes with its node; what is left, also after a panic or a signal, goes when
//! [`Containers`] is dropped; and what a killed process left behind goes at the next start.

mod image;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testcontainers::GenericImage;
use testcontainers::bollard::Docker;
use testcontainers::bollard::models::{
    EndpointIpamConfig, EndpointSettings, Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest,
    NetworkDisconnectRequest,
};
use testcontainers::bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListNetworksOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptionsBuilder,
};
use testcontainers::core::client::docker_client_instance;

use super::container::ContainerSpec;
use super::ports::{self, Ports};

/// What everything that belongs to a cluster is labelled with; the label says whose it is.
pub(super) const LABEL: &str = "meridian.owner";
/// The image's name; its tag says whose it is.
const IMAGE: &str = "meridian-node";
/// How many regions there may be: networks of 16 addresses in one of 256.
const REGIONS_MAX: usize = 16;
/// How many nodes there may be: addresses of a network, without its own, its broadcast and the engine's.
const NODES_MAX: usize = 13;

/// The image and networks of a cluster. REQUIRES: one at a time in a process, dropped on a runtime with several threads.
#[derive(Debug)]
pub(super) struct Containers {
    engine: Docker,
    owner: String,
    /// Once it is built.
    image: Option<GenericImage>,
    nodes: usize,
    regions: usize,
}

impl Containers {
    /// Builds the image and makes the networks.
    ///
    /// # Errors
    /// When no engine answers, or it refuses.
    pub async fn create(binary: &Path, nodes: usize, regions: usize) -> Result<Containers> {
        ensure!(nodes <= NODES_MAX, "a cluster in containers has up to {NODES_MAX} nodes");
        ensure!(regions <= REGIONS_MAX, "a cluster in containers has up to {REGIONS_MAX} regions");
        let engine = engine().await.context("no Docker engine answers (.ci/engine runs a command with one)")?;
        remove(&engine, is_of_the_dead).await?;
        let owner = owner();
        // From here on, all that was made goes when this is dropped.
        let mut containers = Containers { engine, owner, image: None, nodes, regions };
        containers.image = Some(image::build(&containers.engine, binary, IMAGE, &containers.owner).await?);
        containers.make_network("clients", None).await?;
        for region in 0..regions {
            let subnet = format!("{}/28", region_address(region, 0));
            containers.make_network(&format!("r{}", region + 1), Some(subnet)).await?;
        }
        Ok(containers)
    }

    /// Makes a network: with a subnet one that leads nowhere else, or else one that ports can be published from.
    async fn make_network(&self, name: &str, subnet: Option<String>) -> Result<()> {
        let request = NetworkCreateRequest {
            name: self.name(name),
            internal: Some(subnet.is_some()),
            ipam: subnet.map(|subnet| Ipam {
                config: Some(vec![IpamConfig { subnet: Some(subnet), ..IpamConfig::default() }]),
                ..Ipam::default()
            }),
            labels: Some(HashMap::from([(LABEL.to_owned(), self.owner.clone())])),
            ..NetworkCreateRequest::default()
        };
        self.engine.create_network(request).await.with_context(|| format!("network {name} cannot be made"))?;
        Ok(())
    }

    /// What a node's container is made of, where its ports are published as these.
    pub fn node(&self, index: usize, published: Ports) -> ContainerSpec {
        let inside = ports::alone_on(Ipv4Addr::UNSPECIFIED);
        ContainerSpec {
            engine: self.engine.clone(),
            image: self.image.clone().expect("nobody has the containers before their image is built"),
            name: self.node_name(index),
            owner: self.owner.clone(),
            clients: self.name("clients"),
            networks: (0..self.regions).map(|region| (self.region_name(region), node_address(region, index))).collect(),
            published: vec![(published.sql, inside.sql), (published.rpc, inside.rpc), (published.http, inside.http)],
        }
    }

    /// Where other nodes reach a node.
    pub fn address(&self, index: usize) -> Ipv4Addr {
        node_address(index % self.regions, index)
    }

    /// Cuts or heals the calls from one node to another. REQUIRES: it is not so already.
    ///
    /// # Errors
    /// When others are in the same region, whom that would cut off, too; or when the engine refuses.
    pub async fn set_cut(&self, from: usize, to: usize, cut: bool) -> Result<()> {
        ensure!(
            self.regions >= self.nodes,
            "nodes {} and {} cannot be parted: only links between regions of one node can be cut in containers",
            from + 1,
            to + 1
        );
        let (network, node) = (self.region_name(to), self.node_name(from));
        if !cut {
            return connect(&self.engine, &network, &node, node_address(to, from)).await;
        }
        let request = NetworkDisconnectRequest { container: node.clone(), force: Some(true) };
        let cut = self.engine.disconnect_network(&network, request).await;
        cut.with_context(|| format!("{node} cannot be taken off {network}"))
    }

    fn name(&self, of: &str) -> String {
        format!("meridian-{}-{of}", self.owner)
    }

    fn node_name(&self, index: usize) -> String {
        self.name(&format!("n{}", index + 1))
    }

    fn region_name(&self, region: usize) -> String {
        self.name(&format!("r{}", region + 1))
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        let clean = remove(&self.engine, |owner| owner == self.owner);
        let cleaned = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(clean));
        if let Err(error) = cleaned {
            tracing::warn!(error = format!("{error:#}"), owner = self.owner, "not all of the containers was removed");
        }
    }
}

/// Puts a container on a network.
pub(super) async fn connect(engine: &Docker, network: &str, container: &str, address: Ipv4Addr) -> Result<()> {
    let ipam = EndpointIpamConfig { ipv4_address: Some(address.to_string()), ..EndpointIpamConfig::default() };
    let endpoint = EndpointSettings { ipam_config: Some(ipam), ..EndpointSettings::default() };
    let request = NetworkConnectRequest { container: container.to_owned(), endpoint_config: Some(endpoint) };
    let connected = engine.connect_network(network, request).await;
    connected.with_context(|| format!("{container} cannot be put on {network}"))
}

/// The engine, if it answers.
async fn engine() -> Result<Docker> {
    let engine = docker_client_instance().await?;
    tokio::time::timeout(Duration::from_secs(5), engine.ping()).await.context("no answer within 5 s")??;
    Ok(engine)
}

/// A network for each region, in a part of 10.0.0.0/8 for each process.
fn region_address(region: usize, host: u8) -> Ipv4Addr {
    let id = std::process::id();
    Ipv4Addr::new(10, 128 | (id >> 8 & 63) as u8, (id & 255) as u8, 16 * region as u8 + host)
}

fn node_address(region: usize, index: usize) -> Ipv4Addr {
    // The first is the engine's.
    region_address(region, 2 + index as u8)
}

/// This process, among all that may share an engine: process IDs count within their namespace.
fn owner() -> String {
    format!("{}-{}", process_namespace(), std::process::id())
}

fn process_namespace() -> String {
    let link = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    link.to_string_lossy().chars().filter(char::is_ascii_digit).collect()
}

/// Whether what has this label was left behind by a process of this namespace that has ended.
fn is_of_the_dead(owner: &str) -> bool {
    let Some((namespace, id)) = owner.split_once('-') else { return false };
    namespace == process_namespace() && !Path::new("/proc").join(id).exists()
}

/// Removes containers, networks and images by their owners.
async fn remove(engine: &Docker, is_doomed: impl Fn(&str) -> bool) -> Result<()> {
    let filter = HashMap::from([("label", vec![LABEL])]);
    let doomed = |labels: &HashMap<String, String>| labels.get(LABEL).is_some_and(|owner| is_doomed(owner));
    let containers = ListContainersOptionsBuilder::new().all(true).filters(&filter).build();
    for container in engine.list_containers(Some(containers)).await? {
        if let (Some(id), true) = (container.id, container.labels.as_ref().is_some_and(doomed)) {
            let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            engine.remove_container(&id, Some(options)).await?;
        }
    }
    let networks = ListNetworksOptionsBuilder::new().filters(&filter).build();
    for network in engine.list_networks(Some(networks)).await? {
        if let (Some(id), true) = (network.id, network.labels.as_ref().is_some_and(doomed)) {
            engine.remove_network(&id).await?;
        }
    }
    let images = ListImagesOptionsBuilder::new().filters(&HashMap::from([("reference", vec![IMAGE])])).build();
    for tag in engine.list_images(Some(images)).await?.iter().flat_map(|image| &image.repo_tags) {
        if tag.strip_prefix(IMAGE).and_then(|tag| tag.strip_prefix(':')).is_some_and(&is_doomed) {
            let options = RemoveImageOptionsBuilder::new().force(true).build();
            engine.remove_image(tag, Some(options), None).await?;
        }
    }
    Ok(())
}
