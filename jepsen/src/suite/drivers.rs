//! Python's drivers, each in a script of its own under `jepsen/drivers`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cluster::{Cluster, tied_command};

/// The Python with the drivers: `MERIDIAN_DRIVERS` names its virtual environment.
fn python() -> PathBuf {
    let environment = std::env::var_os("MERIDIAN_DRIVERS").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME")?;
        Some(Path::new(&home).join(".cache/meridian/drivers"))
    });
    environment.map_or_else(|| "python3".into(), |path| path.join("bin/python"))
}

pub(super) async fn check(cluster: &mut Cluster, script: &str) -> Result<String> {
    run(script, [cluster.node(1).ports().sql.to_string()], Duration::from_secs(120)).await
}

/// Runs a script with these arguments; what it says.
///
/// # Errors
/// When it fails, and when it does not end in time.
pub(super) async fn run(script: &str, arguments: impl IntoIterator<Item = String>, bound: Duration) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers").join(script);
    let python = python();
    let output = tied_command(&python).arg(path).args(arguments).output();
    let output = tokio::time::timeout(bound, output).await.context("it did not end")?;
    let output = output.with_context(|| format!("cannot run {}; .ci/tools installs the drivers", python.display()))?;
    if !output.status.success() {
        bail!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
