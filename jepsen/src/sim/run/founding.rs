//! How the nodes of a run come to be a cluster.

use super::liveness;
use crate::history::Recorder;
use crate::sim::cluster::SimCluster;
use crate::sim::nemesis;
use crate::sim::plan::Founding;

/// One node after the other, and nothing goes wrong.
pub(super) async fn in_order(cluster: &SimCluster) -> Result<(), String> {
    for index in 0..cluster.len() {
        cluster.start_node(index).await.map_err(|error| format!("{error:#}"))?;
    }
    cluster.apply_links();
    Ok(())
}

/// Each at its time, beside faults. In the end all must run.
pub(super) async fn disturbed(cluster: &SimCluster, founding: &Founding) -> Result<(), String> {
    cluster.apply_links();
    for (index, at) in founding.starts.iter().copied().enumerate() {
        let starting = cluster.clone();
        cluster.spawn("first start", async move {
            tokio::time::sleep(at).await;
            // A fault may have started it before, and may end it meanwhile: in the end all of them must run.
            let _ = starting.start_node(index).await;
        });
    }
    nemesis::carry_out(cluster, &founding.faults, founding.lasts, &Recorder::new()).await;
    liveness::everybody_runs(cluster).await
}
