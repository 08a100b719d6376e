//! One seed, from start to verdict.

use std::time::Duration;

use anyhow::{Context, Result};
use clock::Random;
use raft_groups::network::LinkFaults;

use super::{SimCluster, SimSettings, Trace};
use crate::checker::Verdict;
use crate::client::run_anywhere;
use crate::history::{History, Recorder};
use crate::workload::{self, Load, Workload};

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The same for every run of the seed.
    pub trace_hash: u64,
    /// How many events were folded into it.
    pub events: u64,
    /// What clients saw, and what the nemesis did.
    pub history: History,
    /// What the workload makes of it.
    pub verdict: Verdict,
}

/// How long clients work while faults happen, in virtual time.
const SAFETY_PHASE: Duration = Duration::from_secs(10);
/// Within this virtual time after everything is healed, everything must answer.
const LIVENESS_BOUND: Duration = Duration::from_secs(30);

/// Runs a seed in a runtime of its own, in virtual time.
///
/// # Errors
/// When the cluster does not come up, or does not come back once healed.
pub fn run_seed(seed: u64, workload: &dyn Workload, faults: bool) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_be_bytes()))
        .build()?;
    let trace = Trace::default();
    let (history, verdict) = runtime.block_on(run(seed, workload, faults, trace.clone()))?;
    // What is left running belongs to no run any more.
    runtime.shutdown_background();
    Ok(Outcome { seed, trace_hash: trace.hash(), events: trace.events(), history, verdict })
}

async fn run(seed: u64, workload: &dyn Workload, faults: bool, trace: Trace) -> Result<(History, Verdict)> {
    let mut cluster = SimCluster::start(seed, SimSettings::default(), trace.clone()).await?;
    cluster.network().set_usual(usual());
    let database = cluster.database();
    let load = Load { clients: 6, duration: SAFETY_PHASE, seed, pause: Duration::ZERO };
    let recorder = Recorder::new();
    let nemesis = disturb(&mut cluster, faults, seed, &recorder);
    let outcome = workload::drive(workload, &*database, load, &recorder, nemesis).await?;
    liveness(&cluster).await?;
    trace.record(&format!("delivered {} in {:?}", cluster.network().delivered(), cluster.elapsed()));
    Ok(outcome)
}

/// Links between nearby regions: slow enough that a run is thousands of operations and not hundreds of thousands.
fn usual() -> LinkFaults {
    LinkFaults { delay_min: Duration::from_millis(2), delay_max: Duration::from_millis(5), ..LinkFaults::default() }
}

/// The faults of the safety phase; at its end everything is healed.
async fn disturb(cluster: &mut SimCluster, faults: bool, seed: u64, recorder: &Recorder) -> Result<()> {
    let end = tokio::time::Instant::now() + SAFETY_PHASE;
    if !faults {
        tokio::time::sleep_until(end).await;
        return Ok(());
    }
    let random = Random::from_seed(seed).fork("nemesis");
    let disturbed = LinkFaults {
        delay_max: Duration::from_millis(5 + random.range(0, 10)),
        loss: if random.chance(0.5) { 0.01 } else { 0.0 },
        duplication: if random.chance(0.5) { 0.01 } else { 0.0 },
        ..usual()
    };
    cluster.network().set_usual(disturbed);
    loop {
        let pause = Duration::from_millis(random.range(200, 1_000));
        let hold = Duration::from_millis(random.range(200, 2_000));
        if tokio::time::Instant::now() + pause + hold + Duration::from_secs(2) > end {
            break;
        }
        tokio::time::sleep(pause).await;
        let victim = random.range(0, cluster.len() as u64) as usize;
        let fault = ["crash", "partition", "pause"][random.range(0, 3) as usize];
        let node = format!("n{}", victim + 1);
        recorder.fault_begins(fault, node.as_str());
        match fault {
            "crash" => {
                cluster.crash(victim).await;
                tokio::time::sleep(hold).await;
                cluster.start_node(victim).await?;
            }
            "partition" => {
                let ids: Vec<_> = (0..cluster.len()).filter_map(|index| cluster.node_id(index)).collect();
                let (one, others): (Vec<_>, Vec<_>) = ids.iter().partition(|id| **id == ids[victim]);
                cluster.network().partition(&one, &others);
                tokio::time::sleep(hold).await;
                cluster.network().heal();
            }
            _ => {
                if let Some(id) = cluster.node_id(victim) {
                    cluster.network().pause(id);
                    tokio::time::sleep(hold).await;
                    cluster.network().resume(id);
                }
            }
        }
        recorder.fault_ends(fault, node);
    }
    cluster.network().heal();
    cluster.network().set_usual(usual());
    tokio::time::sleep_until(end).await;
    Ok(())
}

/// Everything is healed: every node must answer, for reads and writes alike.
async fn liveness(cluster: &SimCluster) -> Result<()> {
    let database = cluster.database();
    let answer = async {
        run_anywhere(&*database, "CREATE TABLE IF NOT EXISTS alive (node int PRIMARY KEY)").await?;
        for index in 0..cluster.len() {
            let mut client = database.connect(index).await?;
            client.run(&format!("INSERT INTO alive VALUES ({index})")).await?;
        }
        Ok::<_, crate::client::Failure>(())
    };
    let answered =
        tokio::time::timeout(LIVENESS_BOUND, answer).await.context("not every node answers once all is healed")?;
    answered.context("a node refuses once all is healed")
}
