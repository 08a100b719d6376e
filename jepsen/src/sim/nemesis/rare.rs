//! Rare faults: those that a node must find out by itself, a clock beyond its bound and rot in a log; and the loss of a node for good.
//!
//! ```text
//!   wrong clock      drained of clients ─▶ the clock jumps ─▶ it disagrees with the others, and fences itself ─▶ ended, mended
//!   disowned clock   the clock jumps, and its source says so ─▶ it serves nothing from that moment on ─▶ ended, mended
//!   bit rot          killed, and a bit flips in what was synced before the last ─▶ it refuses to start, or it is unharmed
//!   replacement      once every range has all its copies: killed, its disks are lost ─▶ a new one joins at its address
//! ```
//!
//! Between the jump and the fence whoever speaks to the node of a wrong clock is promised nothing, so nobody does; everybody
//! else is promised everything, and gets it. Rot in the last batch of a log cannot be told from a torn write, hence it is what
//! lies below that which rots.

use std::time::Duration;

use clock::{ClockFault, Random};
use raft_groups::disk::{Dir, SimDir};

use super::super::cluster::{Death, SimCluster};
use super::super::invariants::Sample;
use super::super::plan::{Fault, Planned};

/// For how long nobody has spoken to a node before its clock jumps.
const DRAINED_FOR: Duration = Duration::from_secs(1);

/// How often it is tried to find a moment for rot, or for a loss.
const LOOKS: u32 = 40;

/// Does it, and undoes all but the end of the process. `is_alone`: nothing else is in the way of what must come of it.
pub(super) async fn hold(cluster: &SimCluster, planned: &Planned, is_alone: bool) {
    let end = tokio::time::Instant::now() + planned.hold;
    match planned.fault {
        Fault::WrongClock(node, times) => {
            cluster.set_drained(node, true);
            tokio::time::sleep(DRAINED_FOR).await;
            break_clock(cluster, node, times, None, is_alone, end).await;
            cluster.set_drained(node, false);
        }
        Fault::DisownedClock(node, times) => {
            break_clock(cluster, node, times, Some(ClockFault::Unsynchronised), is_alone, end).await;
        }
        Fault::BitRot(node, choice) => rot(cluster, node, choice, planned.hold / LOOKS).await,
        Fault::Replace(node) => replace(cluster, node, planned.hold / LOOKS, end).await,
        _ => tokio::time::sleep_until(end).await,
    }
}

/// A disk may be lost while others have what was on it; of a range that has but one copy yet, nobody has promised that much.
async fn replace(cluster: &SimCluster, node: usize, pause: Duration, end: tokio::time::Instant) {
    loop {
        let sample = Sample::take(cluster);
        if sample.is_complete && sample.has_copies(cluster.kv_settings().replication_target) {
            break;
        }
        tokio::time::sleep(pause).await;
        if tokio::time::Instant::now() >= end {
            return;
        }
    }
    cluster.lose(node);
    tokio::time::sleep_until(end).await;
}

async fn break_clock(
    cluster: &SimCluster,
    node: usize,
    times: i64,
    fault: Option<ClockFault>,
    is_alone: bool,
    end: tokio::time::Instant,
) {
    let (life, _) = cluster.life(node);
    cluster.break_clock(node, times, fault);
    tokio::time::sleep_until(end).await;
    let (life_now, is_fenced) = cluster.life(node);
    if is_alone && life == life_now && !is_fenced {
        cluster.watch().report("clock_fencing", &format!("node {} goes on with a wrong clock", node + 1));
    }
    // Had something else kept it from finding out, nothing of that life may go on all the same.
    cluster.crash(node, Death::Kill);
    cluster.mend_clock(node);
}

async fn rot(cluster: &SimCluster, node: usize, choice: u64, pause: Duration) {
    let random = Random::from_seed(choice);
    let Some(running) = cluster.node(node) else { return };
    let (life, _) = cluster.life(node);
    let disk = cluster.log_disk(node);
    let Some((file, offset)) = somewhere(&disk, &random) else { return };
    let former = byte_at(&disk, &file, offset);
    let batches = running.wal().stats().batches;
    drop(running);
    for _ in 0..LOOKS {
        tokio::time::sleep(pause).await;
        // The one that was being written, and one more.
        let is_buried = cluster.node(node).is_some_and(|running| running.wal().stats().batches > batches + 1);
        if cluster.life(node).0 != life {
            return;
        }
        if is_buried {
            // What was written since lies elsewhere.
            if former.is_some_and(|byte| byte != 0) && byte_at(&disk, &file, offset) == former {
                flip(cluster, node, &file, offset, 1 << random.range(0, 8));
            }
            return;
        }
    }
}

fn flip(cluster: &SimCluster, node: usize, file: &str, offset: u64, mask: u8) {
    if cluster.log_disk(node).corrupt(file, offset, mask).is_ok() {
        cluster.watch().note(&format!("a bit flips at byte {offset} of {file} of node {}", node + 1));
        cluster.note_rot(node);
        cluster.crash(node, Death::Kill);
    }
}

fn byte_at(disk: &SimDir, file: &str, offset: u64) -> Option<u8> {
    let mut byte = [0];
    disk.open(file).ok()?.read_at(offset, &mut byte).ok()?;
    Some(byte[0])
}

/// A byte of some file of the log.
fn somewhere(disk: &SimDir, random: &Random) -> Option<(String, u64)> {
    let names = disk.list().ok()?;
    let name = names.get(usize::try_from(random.range(0, names.len().max(1) as u64)).ok()?)?.clone();
    let length = disk.open(&name).ok()?.len().ok()?;
    // Most of a segment is yet to be written: rather where something is.
    let used = length / [1, 8, 64][usize::try_from(random.range(0, 3)).ok()?];
    (used > 0).then(|| (name, random.range(0, used)))
}
