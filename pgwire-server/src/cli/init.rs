//! `meridian init`.

use anyhow::Result;
use kv::node::message::{NodeAnswerKind, NodeRequestKind, Ping};

use super::args::Host;
use super::remote::Remote;

pub(super) fn run(init: &Host) -> Result<()> {
    Remote::run(&init.host, async |remote| match remote.ask(NodeRequestKind::Init(Ping {})).await? {
        NodeAnswerKind::Done(_) => {
            println!("the cluster is being founded; nodes started with --join come in by themselves");
            Ok(())
        }
        _ => Err(remote.strange()),
    })
}
