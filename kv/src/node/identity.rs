//! How a node comes to know who it is: from its store, by founding a cluster, or by joining one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use raft_groups::Class;

use super::founding::{self, FOUNDER};
use super::message::{Join, Joined, Known, NodeAnswer, NodeAnswerKind, NodeRequest, NodeRequestKind};
use super::{Begin, NodeConfig, NodeError};
use crate::engine::WriteBatch;
use crate::liveness::Registry;
use crate::router::Router;
use crate::store::{FORMAT_VERSION, Hints, StoreIdentity};

/// How long one attempt to join may take.
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait between rounds of attempts to join.
const JOIN_PAUSE: Duration = Duration::from_millis(100);

/// Finds out who the node is, from now on for good, and what it knows of others.
pub(super) async fn establish(
    config: &mut NodeConfig,
    registry: &Arc<Registry>,
    router: &Arc<Router>,
) -> Result<StoreIdentity, NodeError> {
    let identity = match StoreIdentity::load(&*config.engine.snapshot())? {
        Some(identity) => identity,
        None => begin(config).await?,
    };
    let own_ns = u64::try_from(config.hlc.max_clock_error().as_nanos()).unwrap_or(u64::MAX);
    let cluster_ns = identity.max_clock_error_ns;
    if own_ns != cluster_ns {
        return Err(NodeError::ClockError { cluster_ms: cluster_ns / 1_000_000, own_ms: own_ns / 1_000_000 });
    }
    let hints = Hints::load(&*config.engine.snapshot())?;
    for node in &hints.nodes {
        registry.learn(node);
        config.transport.set_address(node.node_id.into(), node.address.clone());
    }
    hints.first_range.iter().for_each(|first| router.learn(first));
    if !hints.settings.is_empty() {
        registry.cluster().learn(hints.settings);
    }
    let (cluster, own) = (registry.cluster().get().replication_factor, config.settings.replication_target);
    if cluster != own {
        tracing::warn!(
            cluster,
            own,
            "the cluster keeps another number of copies than this node was started with, which counts for nothing"
        );
    }
    Ok(identity)
}

async fn begin(config: &mut NodeConfig) -> Result<StoreIdentity, NodeError> {
    match std::mem::replace(&mut config.begin, Begin::Bootstrap) {
        Begin::Bootstrap => bootstrap(config),
        Begin::Join(addresses) => {
            let joined = join(config, &addresses).await;
            adopt(config, joined)
        }
        Begin::JoinOrBootstrap { join: addresses, bootstrap: told } => {
            let joined = tokio::select! {
                biased;
                Ok(()) = told => None,
                joined = join(config, &addresses) => Some(joined),
            };
            match joined {
                Some(joined) => adopt(config, joined),
                None => bootstrap(config),
            }
        }
    }
}

/// Founds a cluster, whose first node this one is.
fn bootstrap(config: &NodeConfig) -> Result<StoreIdentity, NodeError> {
    let max_clock_error_ns = u64::try_from(config.hlc.max_clock_error().as_nanos()).unwrap_or(u64::MAX);
    let cluster_id = config.random.fork("cluster").next_u128().max(1);
    let identity = StoreIdentity::new(cluster_id, FOUNDER, max_clock_error_ns);
    founding::found(&*config.engine, &identity, &config.settings)?;
    Ok(identity)
}

/// Asks the addresses in turn until one of them lets this node in.
async fn join(config: &NodeConfig, addresses: &[String]) -> Joined {
    let ask =
        Join { address: config.address.clone(), locality: config.locality.clone(), format_version: FORMAT_VERSION };
    let body = NodeRequest::encode_kind(NodeRequestKind::Join(ask));
    let mut rounds = 0_u32;
    loop {
        for address in addresses.iter().filter(|address| **address != config.address) {
            let answer = config.transport.call_address(address, Class::Kv, body.clone(), JOIN_TIMEOUT).await;
            match answer.map_err(|error| error.to_string()).and_then(read_joined) {
                Ok(joined) => return joined,
                Err(reason) if rounds % 50 == 10 => tracing::info!(address, reason, "not joined yet"),
                Err(reason) => tracing::debug!(address, reason, "not joined yet"),
            }
        }
        rounds += 1;
        tokio::time::sleep(JOIN_PAUSE).await;
    }
}

fn read_joined(answer: Bytes) -> Result<Joined, String> {
    match NodeAnswer::decode(answer).map_err(|error| error.to_string())?.kind {
        Some(NodeAnswerKind::Joined(joined)) => Ok(joined),
        Some(NodeAnswerKind::Error(error)) => {
            Err(error.kind.map_or_else(|| "refused".to_owned(), |error| error.to_string()))
        }
        _ => Err("answered with something else".to_owned()),
    }
}

/// Becomes who the cluster says.
fn adopt(config: &NodeConfig, joined: Joined) -> Result<StoreIdentity, NodeError> {
    let identity = StoreIdentity::new(joined.cluster_id(), joined.node_id, joined.max_clock_error_ns);
    let Known { first_range, nodes, settings } = joined.known;
    let hints = Hints { first_range, nodes, settings };
    let mut batch = WriteBatch::new();
    identity.save(&mut batch);
    hints.save(&mut batch);
    config.engine.write(batch)?;
    config.engine.sync()?;
    Ok(identity)
}
