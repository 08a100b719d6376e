//! Carries out a plan: each fault begins and ends at its times, whatever else is going on, and at the end all is healed.

mod rare;
mod staged;

use std::time::Duration;

use bytes::Bytes;
use clock::Random;
use kv::engine::Engine;
use kv::keys;
use kv::mvcc::key;
use raft_groups::disk::SimFaults;

use super::cluster::{Death, SimCluster, Standing};
use super::invariants::Sample;
use super::links::LinkFault;
use super::plan::{Fault, Planned};
use crate::history::Recorder;

/// A clock that drifts fast, in parts per million: far beyond what quartz does.
const DRIFT_PPM_MAX: i64 = 2_000;

/// Carries out the plan, and heals what is left at its end, after `duration`.
pub async fn carry_out(cluster: &SimCluster, plan: &[Planned], duration: Duration, recorder: &Recorder) {
    let begin = tokio::time::Instant::now();
    let faults = plan.iter().map(|planned| async move {
        tokio::time::sleep_until(begin + planned.at).await;
        let name = format!("{:?}", planned.fault);
        cluster.watch().note(&format!("fault {}: {name} begins", planned.number));
        recorder.fault_begins(&name, "");
        begin_fault(cluster, planned);
        match planned.fault {
            Fault::WrongClock(..) | Fault::DisownedClock(..) | Fault::BitRot(..) | Fault::Replace(_) => {
                rare::hold(cluster, planned, plan.len() == 1).await;
            }
            Fault::SplitStorm(..)
            | Fault::Returning(..)
            | Fault::FullLearner(_)
            | Fault::FullNewcomer
            | Fault::Unheard(..)
            | Fault::Decommission(_) => staged::hold(cluster, planned).await,
            _ => tokio::time::sleep(planned.hold).await,
        }
        cluster.watch().note(&format!("fault {}: {name} ends", planned.number));
        end_fault(cluster, planned);
        recorder.fault_ends(&name, "");
    });
    futures::future::join_all(faults).await;
    tokio::time::sleep_until(begin + duration).await;
    heal(cluster);
}

/// Everything is as it should be: links, clocks within their bound, disks, processes.
pub fn heal(cluster: &SimCluster) {
    cluster.watch().note("all is healed");
    cluster.change_links(|links| links.heal());
    for index in 0..cluster.len() {
        let relied_on = cluster.standing(index) != Standing::Up || has_voters(cluster, index);
        if cluster.is_full_for_good(index) && relied_on {
            // It would refuse what it leads, and wait for room before it starts, where it was ended while it installed a snapshot;
            // only copies that nobody relies on may be lost for good.
            cluster.set_full_for_good(index, false);
        }
        cluster.resume(index);
        cluster.set_strike(index, None);
        cluster.set_starved(index, false);
        cluster.set_log_faults(index, SimFaults::default());
        clear_data_faults(cluster, index);
    }
    restart_all(cluster);
}

fn has_voters(cluster: &SimCluster, index: usize) -> bool {
    let id = cluster.node(index).map(|node| node.node_id());
    let sample = Sample::take(cluster);
    sample.newest().into_iter().any(|range| range.voters().any(|voter| Some(voter.node_id) == id))
}

fn clear_data_faults(cluster: &SimCluster, index: usize) {
    if !cluster.is_full_for_good(index) {
        cluster.set_data_faults(index, SimFaults::default());
    }
}

/// Starts whatever does not run.
pub fn restart_all(cluster: &SimCluster) {
    for index in 0..cluster.len() {
        restart(cluster, index);
    }
}

fn restart(cluster: &SimCluster, index: usize) {
    if cluster.standing(index) == Standing::Down {
        let cluster = cluster.clone();
        cluster.clone().spawn("restart", async move {
            // Why it did not start is in the timeline; whether it may fail to is for the liveness phase to say.
            let _ = cluster.start_node(index).await;
        });
    }
}

fn begin_fault(cluster: &SimCluster, planned: &Planned) {
    let cut = |faults: Vec<LinkFault>| cluster.change_links(|links| links.begin(planned.number, faults));
    let count = cluster.len();
    match &planned.fault {
        Fault::Partition(side) => cut(between(count, |from, to| side.contains(&from) != side.contains(&to))),
        Fault::Ring => cut(between(count, |from, to| {
            let apart = from.abs_diff(to);
            apart != 1 && apart != count - 1
        })),
        Fault::Bridge(bridge) => cut(between(count, |from, to| {
            let side = |node: usize| node % 2;
            from != *bridge && to != *bridge && (side(from) != side(to) || count == 3)
        })),
        Fault::IsolateLeaseholder(choice) => {
            if let Some(holder) = leaseholder(cluster, *choice) {
                cut(between(count, |from, to| from == holder || to == holder));
            }
        }
        Fault::OneWay(from, to) => cut(vec![LinkFault::Cut { from: *from, to: *to }]),
        Fault::Slow(from, to, most) => cut(vec![LinkFault::Slow { from: *from, to: *to, by: (Duration::ZERO, *most) }]),
        Fault::Loss(part) => cut(vec![LinkFault::Loss(*part)]),
        Fault::Duplication(part) => cut(vec![LinkFault::Duplication(*part)]),
        Fault::PowerLoss(node) => cluster.crash(*node, Death::PowerLoss),
        Fault::Blackout => (0..count).for_each(|node| cluster.crash(node, Death::PowerLoss)),
        Fault::Kill(node) => cluster.crash(*node, Death::Kill),
        Fault::Pause(node) => cluster.pause(*node),
        Fault::Clock(node, offset, drift) => {
            let offset_ns = cluster.clock_error_ns() / 1_000 * offset;
            cluster.set_clock(*node, offset_ns, DRIFT_PPM_MAX * drift / 1_000);
        }
        Fault::SlowSync(node, most) => {
            cluster.set_log_faults(*node, SimFaults { sync_delay: (Duration::ZERO, *most), ..SimFaults::default() });
        }
        Fault::SyncError(node) => {
            cluster.set_log_faults(*node, SimFaults { sync_error: 0.1, ..SimFaults::default() });
        }
        Fault::WriteError(node) => {
            cluster.set_log_faults(*node, SimFaults { write_error: 0.1, ..SimFaults::default() });
        }
        Fault::DiskFull(node) => {
            let full = SimFaults { capacity_bytes: Some(0), ..SimFaults::default() };
            cluster.set_log_faults(*node, full.clone());
            cluster.set_data_faults(*node, full);
        }
        Fault::Starved(node) => cluster.set_starved(*node, true),
        Fault::Split(choice) => split(cluster, *choice),
        Fault::TransferLease(which, to) => transfer_lease(cluster, *which, *to),
        Fault::AddNode => {
            let index = cluster.add_slot();
            restart(cluster, index);
        }
        Fault::Strike(node, strike) => {
            cluster.set_strike(*node, Some(*strike));
            restart(cluster, *node);
        }
        // Takes its time: see there.
        Fault::WrongClock(..) | Fault::DisownedClock(..) | Fault::BitRot(..) | Fault::Replace(_) => {}
        Fault::SplitStorm(..) | Fault::Returning(..) | Fault::FullLearner(_) => {}
        Fault::FullNewcomer | Fault::Unheard(..) | Fault::Decommission(_) => {}
    }
}

fn end_fault(cluster: &SimCluster, planned: &Planned) {
    match &planned.fault {
        Fault::PowerLoss(node) | Fault::Kill(node) => restart(cluster, *node),
        Fault::Blackout => restart_all(cluster),
        Fault::Pause(node) => cluster.resume(*node),
        Fault::SlowSync(node, _) | Fault::SyncError(node) | Fault::WriteError(node) | Fault::DiskFull(node) => {
            cluster.set_log_faults(*node, SimFaults::default());
            clear_data_faults(cluster, *node);
            restart(cluster, *node);
        }
        Fault::Strike(node, _) => {
            cluster.set_strike(*node, None);
            restart(cluster, *node);
        }
        Fault::Starved(node) => cluster.set_starved(*node, false),
        Fault::Returning(node, other) => {
            cluster.change_links(|links| links.end(planned.number));
            restart(cluster, *node);
            restart(cluster, *other);
        }
        Fault::WrongClock(node, _) | Fault::DisownedClock(node, _) | Fault::BitRot(node, _) | Fault::Replace(node) => {
            restart(cluster, *node);
        }
        Fault::Clock(..) | Fault::Split(_) | Fault::TransferLease(..) | Fault::AddNode => {}
        Fault::Unheard(node, _) => {
            cluster.change_links(|links| links.end(planned.number));
            restart(cluster, *node);
        }
        Fault::SplitStorm(..) | Fault::FullLearner(_) | Fault::FullNewcomer | Fault::Decommission(_) => {}
        _ => cluster.change_links(|links| links.end(planned.number)),
    }
}

fn between(count: usize, is_cut: impl Fn(usize, usize) -> bool) -> Vec<LinkFault> {
    let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
    let cut = pairs.filter(|(from, to)| from != to && is_cut(*from, *to));
    cut.map(|(from, to)| LinkFault::Cut { from, to }).collect()
}

/// The number of the node that holds the lease of one of the ranges, as some store has it.
fn leaseholder(cluster: &SimCluster, choice: u64) -> Option<usize> {
    let sample = Sample::take(cluster);
    let leases: Vec<u64> = sample.nodes.first()?.ranges.iter().map(|state| state.lease.node).collect();
    let node = *leases.get(pick(choice, leases.len())?)?;
    (0..cluster.len()).find(|index| cluster.node(*index).is_some_and(|running| running.node_id() == node))
}

fn pick(choice: u64, count: usize) -> Option<usize> {
    usize::try_from(choice).ok()?.checked_rem(count)
}

/// Splits at some key that is in use.
fn split(cluster: &SimCluster, choice: u64) {
    let Some((at, admin)) = somewhere(cluster, choice) else { return };
    cluster.spawn("split", async move {
        // It may fail for any of the other faults' sake.
        let _ = admin.split_at(at).await;
    });
}

fn transfer_lease(cluster: &SimCluster, which: u64, to: u64) {
    let Some((key, admin)) = somewhere(cluster, which) else { return };
    let Some(index) = pick(to, cluster.len()) else { return };
    let Some(target) = cluster.node(index).map(|node| node.node_id()) else { return };
    cluster.spawn("lease transfer", async move {
        let _ = admin.transfer_lease(key, target).await;
    });
}

/// A key of some table that is in use, and a node that runs.
fn somewhere(cluster: &SimCluster, choice: u64) -> Option<(Bytes, std::sync::Arc<dyn kv::node::Admin>)> {
    let random = Random::from_seed(choice);
    let running: Vec<usize> = (0..cluster.len()).filter(|index| cluster.standing(*index) == Standing::Up).collect();
    let index = *running.get(pick(random.next_u64(), running.len())?)?;
    let (_, _, engine) = cluster.engines().into_iter().nth(index)?;
    let reader = engine.snapshot();
    let mut in_use: Vec<Bytes> = Vec::new();
    let mut cursor = reader.cursor(&[keys::TABLE], &[keys::TABLE + 1], false);
    while cursor.advance().unwrap_or(false) {
        if let Ok((key, _)) = key::decode(cursor.key())
            && in_use.last() != Some(&key)
        {
            in_use.push(key);
        }
    }
    drop(cursor);
    let key = in_use.get(pick(random.next_u64(), in_use.len())?)?.clone();
    Some((key, cluster.node(index)?.admin()))
}
