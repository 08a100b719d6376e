//! What a cluster stands on: where its nodes run, how they are reached, and who cuts the links between them.
//!
//! | confinement | a node is | reached at | a link is cut by |
//! |---|---|---|---|
//! | none | a process | loopback | the sender's own fault hook |
//! | namespaces | a process in a network namespace | an address of its own | the receiver's packet filter |
//! | containers | a container | ports published on loopback | taking the sender off the receiver's network |

use std::net::Ipv4Addr;

use anyhow::Result;

use super::containers::Containers;
use super::node::{Place, Site};
use super::{ClusterConfig, Namespaces, Ports, ports};

/// What nodes are confined to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confinement {
    /// Nothing: all share this machine's loopback.
    #[default]
    None,
    /// Each has a network namespace of its own, so that the kernel can cut links.
    Namespaces,
    /// Each has a container of its own, one network for each region.
    Containers,
}

/// What a cluster stands on.
#[derive(Debug)]
pub(super) enum Ground {
    Loopback(Vec<Ports>),
    Namespaces(Namespaces),
    Containers(Box<Containers>, Vec<Ports>),
}

impl Ground {
    pub async fn prepare(config: &ClusterConfig) -> Result<Ground> {
        let loopback = || ports::assign(config.nodes, config.first_sql_port);
        Ok(match config.confinement {
            Confinement::None => Ground::Loopback(loopback()?),
            Confinement::Namespaces => Ground::Namespaces(Namespaces::create(config.nodes)?),
            Confinement::Containers => {
                let regions = config.regions.min(config.nodes).max(1);
                let containers = Containers::create(&config.binary, config.nodes, regions).await?;
                Ground::Containers(Box::new(containers), loopback()?)
            }
        })
    }

    /// Where a node runs, counted from 0.
    pub fn site(&self, index: usize) -> Site {
        let of = |place: Place, ports: Ports| Site { place, ports, listen: ports, address: (ports.host, ports.rpc) };
        match self {
            Ground::Loopback(ports) => of(Place::Here, ports[index]),
            Ground::Namespaces(namespaces) => {
                let namespace = namespaces.node(index).clone();
                let ports = ports::alone_on(namespace.address);
                of(Place::Namespace(namespace), ports)
            }
            Ground::Containers(containers, published) => {
                let listen = ports::alone_on(Ipv4Addr::UNSPECIFIED);
                Site {
                    place: Place::Container(Box::new(containers.node(index, published[index]))),
                    ports: published[index],
                    listen,
                    address: (containers.address(index), listen.rpc),
                }
            }
        }
    }

    /// Whether it cuts links, so that nodes need not.
    pub fn cuts_links(&self) -> bool {
        !matches!(self, Ground::Loopback(_))
    }

    /// Cuts or heals one direction of a link. REQUIRES: it cuts links, and this one is not so already.
    pub async fn set_cut(&self, from: usize, to: usize, cut: bool) -> Result<()> {
        match self {
            Ground::Loopback(_) => unreachable!("loopback cuts no links"),
            Ground::Namespaces(namespaces) => namespaces.set_cut(from, to, cut),
            Ground::Containers(containers, _) => containers.set_cut(from, to, cut).await,
        }
    }

    /// How links are cut here, in words.
    pub fn cutter(&self) -> &'static str {
        match self {
            Ground::Loopback(_) => "the transport's fault hook",
            Ground::Namespaces(_) => "iptables in network namespaces",
            Ground::Containers(..) => "taking containers off networks",
        }
    }
}
