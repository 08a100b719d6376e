//! A running node, as a command asks it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clock::{Hlc, SystemTime, Tasks, Timestamp, VolatileCeiling};
use kv::node::message::{NodeAnswer, NodeAnswerKind, NodeRequest, NodeRequestKind};
use prost::Message;
use raft_groups::network::{GrpcConfig, GrpcTransport};
use raft_groups::{Class, NodeId, Transport};

/// How long the node may take to answer: longer than its own requests may.
const TIMEOUT: Duration = Duration::from_secs(15);
/// A clock that refuses no node's timestamps: this process issues none that matter.
const ANY_CLOCK_ERROR: Duration = Duration::from_secs(3600);

/// The node at an address.
pub(super) struct Remote {
    address: String,
    transport: GrpcTransport,
}

impl Remote {
    /// Runs a command that asks the node at an address.
    pub fn run<T>(address: &str, command: impl AsyncFnOnce(&Remote) -> Result<T>) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tasks = Tasks::on(runtime.handle().clone());
        let time = Arc::new(SystemTime::with_error(Duration::ZERO));
        let hlc = Arc::new(Hlc::new(time, ANY_CLOCK_ERROR, Arc::new(VolatileCeiling), Timestamp::MIN));
        let transport = GrpcTransport::new(NodeId(0), 0, hlc, tasks, GrpcConfig::default());
        let remote = Remote { address: address.to_owned(), transport };
        runtime.block_on(command(&remote))
    }

    /// The answer to a request, unless it is no.
    pub async fn ask(&self, request: NodeRequestKind) -> Result<NodeAnswerKind> {
        let body = NodeRequest::encode_kind(request);
        let answer = self.transport.call_address(&self.address, Class::Kv, body, TIMEOUT).await;
        let answer = answer.with_context(|| format!("the node on {} did not take the order", self.address))?;
        match NodeAnswer::decode(answer)?.kind {
            Some(NodeAnswerKind::Error(error)) => {
                bail!("{}", error.kind.map_or_else(|| "refused".to_owned(), |error| error.to_string()))
            }
            Some(answer) => Ok(answer),
            None => Err(self.strange()),
        }
    }

    /// The node is of another version.
    pub fn strange(&self) -> anyhow::Error {
        anyhow!("the node on {} answered with something else: is it of another version?", self.address)
    }
}
