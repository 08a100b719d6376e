//! PostgreSQL as an oracle: scripts run on both, statement by statement, with the same outcome.
//!
//! The scripts are `jepsen/differential/*.sql`; where Meridian is known to differ, they say so, and why.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::drivers::python;
use crate::bench::postgres::{self, Server};
use crate::cluster::Cluster;

pub(super) async fn check(cluster: &mut Cluster) -> Result<String> {
    let bin = postgres::find().context("no PostgreSQL server is installed; .ci/tools installs it")?;
    let directory = tempfile::TempDir::with_prefix("meridian-differential-")?;
    let server = Server::start(&bin, &directory.path().join("postgresql"), 0).await?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut scripts: Vec<_> =
        std::fs::read_dir(root.join("differential"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    scripts.sort();
    let output = tokio::process::Command::new(python())
        .arg(root.join("drivers/differential.py"))
        .arg(cluster.node(0).ports().sql.to_string())
        .arg(server.port().to_string())
        .args(&scripts)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(240), output).await.context("it did not end")??;
    server.stop().await;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        bail!("{said}{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(said)
}
