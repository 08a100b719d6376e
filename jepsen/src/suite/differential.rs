//! The same statements on Meridian and on PostgreSQL: every difference must be one that is meant.
//!
//! The statements, and why some of their answers differ, are in `jepsen/differential`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::drivers::run;
use crate::bench::{Server, find_postgres};
use crate::cluster::Cluster;

/// For how long the comparison may take.
const BOUND: Duration = Duration::from_secs(300);

pub(super) async fn check(cluster: &mut Cluster) -> Result<String> {
    let bin =
        find_postgres().context("there is no PostgreSQL server below /usr/lib/postgresql; .ci/tools installs one")?;
    let directory = cluster.config().directory.join("postgres");
    let server = Server::start(&bin, &directory, 0).await?;
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("differential");
    let mut paths: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(&scripts).with_context(|| format!("cannot read {}", scripts.display()))? {
        paths.push(entry?.path().to_string_lossy().into_owned());
    }
    paths.sort();
    if paths.is_empty() {
        bail!("there are no statements in {}", scripts.display());
    }
    let ports = [cluster.node(1).ports().sql.to_string(), server.port().to_string()];
    let said = run("differential.py", ports.into_iter().chain(paths), BOUND).await;
    server.stop().await;
    said
}
