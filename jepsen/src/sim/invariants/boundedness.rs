//! What is kept for others, or for a while, goes again: once all is healed, what a node keeps is a small multiple of what lives.
//!
//! | kept | what for | at most, in the end |
//! |---|---|---|
//! | entries of a group's log, and their bytes | followers that lag | what compaction is set to, twice |
//! | the log of a group | a replica | groups that run here |
//! | staged snapshots | an install | none |
//! | data of a replica | its range | what the ranges held here span |
//! | records of ended transactions | those who meet their intents | a few, where they are kept for less than a run |
//! | tasks | what goes on | some for the node, some for each range |

use std::time::Duration;

use clock::Timestamp;
use kv::Settings;
use kv::api::TxnStatus;
use kv::engine::Engine;
use kv::keys::{self, RangeLocal};
use kv::mvcc::key;
use kv::node::Node;
use kv::replica::record_status;

use super::super::cluster::SimCluster;
use super::{NodeSample, Sample};

/// Entries beyond what compaction is set to: some are on their way.
const ENTRIES_SLACK: u64 = 128;

/// The same in bytes.
const BYTES_SLACK: u64 = 64 << 10;

/// Records are looked at where they, and garbage, are kept for less than this.
const KEPT_MS_MAX: u64 = 20_000;

/// Records of ended transactions that may be left: those that ended just now.
const RECORDS_MAX: usize = 64;

/// Tasks of a node by itself, and more for each replica.
const TASKS_MAX: (usize, usize) = (100, 10);

/// For how long ended transactions are remembered, where that is looked at.
pub fn kept_for(settings: &Settings) -> Duration {
    if looks_at_records(settings) {
        Duration::from_millis(settings.record_retention_ms + 4 * settings.gc_interval_ms)
    } else {
        Duration::ZERO
    }
}

fn looks_at_records(settings: &Settings) -> bool {
    settings.record_retention_ms + settings.gc_interval_ms < KEPT_MS_MAX
}

/// What there is too much of, if there is.
///
/// # Errors
/// What it is.
pub fn check(cluster: &SimCluster) -> Result<(), String> {
    let sample = Sample::take(cluster);
    for stored in &sample.nodes {
        let Some(node) = cluster.node(stored.index) else { continue };
        // Without room nothing is cleared: that is written, too.
        if cluster.is_full_for_good(stored.index) {
            continue;
        }
        let number = stored.index + 1;
        check_log(cluster, &node).map_err(|words| format!("node {number} {words}"))?;
        check_store(cluster.kv_settings(), stored).map_err(|words| format!("node {number} {words}"))?;
        let (tasks, replicas) = (cluster.live_tasks(stored.index), node.store().all().len());
        if tasks > TASKS_MAX.0 + TASKS_MAX.1 * replicas {
            return Err(format!("node {number} has {tasks} tasks for {replicas} replicas"));
        }
    }
    Ok(())
}

fn check_log(cluster: &SimCluster, node: &Node) -> Result<(), String> {
    let config = cluster.group_config();
    let entries_max = 2 * (config.compact_after_entries + config.keep_entries) + ENTRIES_SLACK;
    let bytes_max = 2 * (config.compact_after_bytes + config.keep_bytes) + BYTES_SLACK;
    for group in node.wal().groups() {
        if node.store().held(group.0).is_none() {
            return Err(format!("keeps the log of {group}, of which it holds no replica"));
        }
        let size = node.wal().group(group).size();
        if size.entries > entries_max || size.bytes > bytes_max {
            return Err(format!(
                "keeps {size:?} of the log of {group}, more than {entries_max} entries or {bytes_max} bytes"
            ));
        }
    }
    Ok(())
}

fn check_store(settings: &Settings, stored: &NodeSample) -> Result<(), String> {
    let reader = stored.engine.snapshot();
    let mut cursor = reader.cursor(&[keys::LOCAL], &[], false);
    let (mut records, mut oldest) = (0, Timestamp::MAX);
    let mut spans: Vec<_> =
        stored.ranges.iter().map(|state| key::span(&state.descriptor.start, &state.descriptor.end)).collect();
    spans.sort();
    while cursor.advance().unwrap_or(false) {
        let at = cursor.key();
        if let Some((range, [what, ..])) = keys::decode_range_local(at)
            && *what == RangeLocal::Staging as u8
        {
            return Err(format!("keeps a snapshot of range {range} that is not on its way any more"));
        }
        if at[0] > keys::LOCAL
            && !spans.iter().any(|(start, end)| at >= &start[..] && (end.is_empty() || at < &end[..]))
        {
            return Err(format!("keeps data that belongs to no replica it holds, at {at:02x?}"));
        }
        if keys::decode_txn_record(at).is_some()
            && let Some(record) = record_status(cursor.value())
            && matches!(record.status, TxnStatus::Committed | TxnStatus::Aborted)
        {
            records += 1;
            oldest = oldest.min(record.write_timestamp);
        }
    }
    if looks_at_records(settings) && records > RECORDS_MAX {
        let retention_ms = settings.record_retention_ms;
        return Err(format!(
            "keeps {records} records of ended transactions from {oldest} on, for longer than {retention_ms} ms"
        ));
    }
    Ok(())
}
