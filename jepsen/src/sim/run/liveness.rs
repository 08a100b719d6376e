//! What must be so once everything is healed, within a bound of virtual time.
//!
//! ```text
//!   every node runs ─▶ every node answers ─▶ replicas catch up ─▶ progress ─▶ the nodes find all replicas alike ─▶ boundedness
//!     ─▶ the invariants look back
//! ```

use std::time::Duration;

use bytes::Bytes;
use kv::api::Span;
use kv::consistency::CheckStatus;
use kv::keys;
use kv::settings::cluster::CHECK_MAX_RATE;

use super::drawn::DEAD_AFTER_MS_MAX;
use crate::client::{Database, run_anywhere};
use crate::sim::cluster::{SimCluster, Standing};
use crate::sim::invariants::{Sample, boundedness, progress};
use crate::sim::nemesis;

/// Within this virtual time after everything is healed, everything must answer, and every replica catch up.
const LIVENESS_BOUND: Duration = Duration::from_secs(60);

/// How often it is looked whether what must come has come.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

fn in_time(what: &str) -> String {
    format!("{what} within {LIVENESS_BOUND:?} after all was healed")
}

/// Every node comes up, however often it has to be started.
pub(super) async fn everybody_runs(cluster: &SimCluster) -> Result<(), String> {
    let end = tokio::time::Instant::now() + LIVENESS_BOUND;
    loop {
        let is_late = |index: &usize| !matches!(cluster.standing(*index), Standing::Up | Standing::Lost);
        let down: Vec<usize> = (0..cluster.len()).filter(is_late).collect();
        if down.is_empty() {
            return Ok(());
        }
        if tokio::time::Instant::now() > end {
            let names: Vec<usize> = down.iter().map(|index| index + 1).collect();
            return Err(in_time(&format!("nodes {names:?} do not come up")));
        }
        nemesis::restart_all(cluster);
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Everything is healed: every node must come up and answer, for reads and writes alike, every replica catch up, and everything
/// be as it should be. Reports what is not.
pub(super) async fn liveness(cluster: &SimCluster, database: &dyn Database) {
    let report = |name: &str, result: Result<(), String>| match result {
        Ok(()) => true,
        Err(problem) => {
            cluster.watch().report(name, &problem);
            false
        }
    };
    if !report("liveness", everybody_answers(cluster, database).await) {
        return;
    }
    if !report("progress", makes_progress(cluster).await) {
        return;
    }
    if report("replica_checks", all_are_alike(cluster).await) && report("boundedness", shrinks(cluster).await) {
        cluster.watch().look_back(cluster);
    }
}

/// Asked, the nodes compare all replicas of all ranges, and find them alike; where nodes are gone for good, those that are left.
async fn all_are_alike(cluster: &SimCluster) -> Result<(), String> {
    let end = tokio::time::Instant::now() + LIVENESS_BOUND;
    let everything = || Span { start: Bytes::from_static(keys::MIN), end: Bytes::from_static(keys::MAX) };
    let Some(admin) = (0..cluster.len()).find_map(|index| cluster.node(index)).map(|node| node.admin()) else {
        return Err("no node runs".to_owned());
    };
    // However slow checks were so far.
    let hastened = tokio::time::timeout_at(end, admin.set_setting(CHECK_MAX_RATE, None)).await;
    hastened.map_err(|_| in_time("a cluster setting is not written"))?.map_err(|error| error.to_string())?;
    let mut problem = "no check was done".to_owned();
    while tokio::time::Instant::now() < end {
        match admin.check_replicas(everything()).await {
            Ok(checked) => {
                let odd = checked.iter().find(|checked| match checked.status {
                    CheckStatus::Consistent => false,
                    CheckStatus::Indeterminate => !cluster.has_lost_nodes(),
                    CheckStatus::Inconsistent => true,
                });
                let Some(odd) = odd else { return Ok(()) };
                problem = format!("range {}: {}: {}", odd.descriptor.range_id, odd.status.word(), odd.detail);
            }
            Err(error) => problem = error.to_string(),
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Err(in_time(&format!("the nodes do not find all replicas alike: {problem}")))
}

async fn everybody_answers(cluster: &SimCluster, database: &dyn Database) -> Result<(), String> {
    everybody_runs(cluster).await?;
    let end = tokio::time::Instant::now() + LIVENESS_BOUND;
    let answer = async {
        run_anywhere(database, "CREATE TABLE IF NOT EXISTS alive (node int PRIMARY KEY)").await?;
        for index in (0..cluster.len()).filter(|index| cluster.standing(*index) != Standing::Lost) {
            let mut client = database.connect(index).await?;
            client.run(&format!("INSERT INTO alive VALUES ({index})")).await?;
        }
        Ok::<_, crate::client::Failure>(())
    };
    match tokio::time::timeout_at(end, answer).await {
        Err(_) => return Err(in_time("not every node answers")),
        Ok(Err(failure)) => return Err(format!("a node refuses once all is healed: {failure}")),
        Ok(Ok(())) => {}
    }
    while let Some(lagging) = Sample::take(cluster).unsettled() {
        if tokio::time::Instant::now() > end {
            return Err(in_time(&format!("replicas do not catch up ({lagging})")));
        }
        tokio::time::sleep(LOOK_INTERVAL / 5).await;
    }
    Ok(())
}

/// `progress`, which is not asked for where nodes are gone that nobody takes for dead within a run.
async fn makes_progress(cluster: &SimCluster) -> Result<(), String> {
    let end = tokio::time::Instant::now() + LIVENESS_BOUND;
    if cluster.has_lost_nodes() && cluster.kv_settings().node_dead_after_ms > DEAD_AFTER_MS_MAX {
        return Ok(());
    }
    loop {
        let looked = match progress::check(cluster) {
            Ok(()) => progress::serves(cluster).await,
            lacking => lacking,
        };
        match looked {
            Ok(()) => return Ok(()),
            Err(problem) if tokio::time::Instant::now() > end => return Err(in_time(&problem)),
            Err(_) => tokio::time::sleep(LOOK_INTERVAL).await,
        }
    }
}

/// `boundedness`: what was kept for others or for a while has gone.
async fn shrinks(cluster: &SimCluster) -> Result<(), String> {
    let kept = boundedness::kept_for(cluster.kv_settings());
    let end = tokio::time::Instant::now() + LIVENESS_BOUND + kept;
    loop {
        match boundedness::check(cluster) {
            Ok(()) => return Ok(()),
            Err(problem) if tokio::time::Instant::now() > end => {
                return Err(format!("{problem}, {:?} after all was healed", LIVENESS_BOUND + kept));
            }
            Err(_) => tokio::time::sleep(LOOK_INTERVAL).await,
        }
    }
}
