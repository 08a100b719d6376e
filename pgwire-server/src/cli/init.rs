//! `meridian init`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clock::{Hlc, SystemTime, Tasks, Timestamp, VolatileCeiling};
use kv::node::message::{NodeAnswer, NodeAnswerKind, NodeRequest, NodeRequestKind, Ping};
use prost::Message;
use raft_groups::network::{GrpcConfig, GrpcTransport};
use raft_groups::{Class, NodeId, Transport};

use super::args::Init;

/// How long the node may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A clock that refuses no node's timestamps: this process issues none that matter.
const ANY_CLOCK_ERROR: Duration = Duration::from_secs(3600);

pub(super) fn run(init: &Init) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let tasks = Tasks::on(runtime.handle().clone());
        let time = Arc::new(SystemTime::with_error(Duration::ZERO));
        let hlc = Arc::new(Hlc::new(time, ANY_CLOCK_ERROR, Arc::new(VolatileCeiling), Timestamp::MIN));
        let transport = GrpcTransport::new(NodeId(0), 0, hlc, tasks, GrpcConfig::default());
        let body = NodeRequest::encode_kind(NodeRequestKind::Init(Ping {}));
        let answer = transport.call_address(&init.host, Class::Kv, body, TIMEOUT).await;
        let answer = answer.with_context(|| format!("the node on {} did not take the order", init.host))?;
        match NodeAnswer::decode(answer)?.kind {
            Some(NodeAnswerKind::Done(_)) => {
                println!("the cluster is being founded; nodes started with --join come in by themselves");
                Ok(())
            }
            Some(NodeAnswerKind::Error(error)) => {
                bail!("{}", error.kind.map_or_else(|| "refused".to_owned(), |error| error.to_string()))
            }
            _ => bail!("the node on {} answered with something else", init.host),
        }
    })
}
