//! The numbers that a node is started with, each with its unit last, and what they start from.
//!
//! Durations that guard timestamps (`lease_duration_ms`, `record_retention_ms`) must be the same on all
//! nodes; the others may differ. Those that the whole cluster goes by are only where [`cluster`] begins from.

pub mod cluster;

use std::time::Duration;

pub use cluster::{ClusterSettings, ClusterValues, InvalidSetting, SettingInfo, SettingRow};

use crate::directory::FIRST_RANGE_ID;

/// A copy on its way that is slower than this gets nowhere.
const COPIED_BYTES_A_SECOND_MIN: u64 = 2 << 20;

/// Every number that somebody may want to change.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How many voters a range should have in a cluster that this node founds. Odd.
    pub replication_target: usize,
    /// How many voters the first range should have where there are nodes enough: without it nothing is found any more, so it
    /// should survive what no table does. Never fewer than the others.
    pub system_replication_target: usize,
    /// A range larger than this, in bytes of keys and values, is split in the middle.
    pub range_split_bytes: u64,
    /// How long a lease lasts; it is renewed at half of it while the range is used.
    pub lease_duration_ms: u64,
    /// How long a request waits for locks and quorums when its batch does not say.
    pub request_timeout_ms: u64,
    /// How far closed timestamps trail the clock.
    pub closed_timestamp_lag_ms: u64,
    /// How long versions that were overwritten stay readable.
    pub gc_ttl_ms: u64,
    /// How often a leaseholder looks for garbage to collect.
    pub gc_interval_ms: u64,
    /// Garbage of a range below this, in bytes, is left alone.
    pub gc_garbage_bytes_min: u64,
    /// How long the record of a finished transaction stays.
    pub record_retention_ms: u64,
    /// How often a coordinator says that its transaction lives; a record silent for five of these may be aborted.
    pub txn_heartbeat_ms: u64,
    /// How long a request waits for a lock before it pushes the holder.
    pub push_delay_ms: u64,
    /// How often a node says that it lives, and what room it has.
    pub liveness_interval_ms: u64,
    /// A node silent for longer is not given replicas, and not asked first.
    pub node_suspect_after_ms: u64,
    /// A node silent for longer is taken for dead, and its replicas are replaced.
    pub node_dead_after_ms: u64,
    /// Whether leases move only because they are better elsewhere. Off as long as such a move may cost seconds of a range's service when
    /// nodes are killed at the same time.
    pub lease_rebalancing: bool,
    /// How often a leaseholder looks at its ranges' size and placement when no event makes it look earlier.
    pub placement_interval_ms: u64,
    /// A learner may take this long, and what its range's bytes need beside, before another node is tried in its place. Longer than any one
    /// step of a snapshot may take: one whose answer was lost is sent anew.
    pub learner_patience_ms: u64,
    /// How often a leaseholder compares its ranges' directory entries with what it knows.
    pub directory_interval_ms: u64,
    /// How long after its start a replica that does not lead asks whether it was removed meanwhile; then ever more rarely.
    pub replica_silent_after_ms: u64,
    /// Writes are refused when less than this is free on the disk, in bytes.
    pub disk_floor_bytes: u64,
    /// Size of the file that is given up when the disk is full, so that there is room to recover, in bytes.
    pub disk_ballast_bytes: u64,
    /// How often the free room is looked at.
    pub disk_interval_ms: u64,
    /// Snapshots up to this many bytes are installed in one batch, larger ones are staged.
    pub snapshot_batch_bytes: usize,
    /// How often the replicas of each range are compared, where the cluster does not say; 0 for never.
    pub check_interval_ms: u64,
    /// How many bytes a second a node reads for that at most, where the cluster does not say.
    pub check_bytes_a_second: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            replication_target: 3,
            system_replication_target: 5,
            range_split_bytes: 256 << 20,
            lease_duration_ms: 2_000,
            request_timeout_ms: 10_000,
            closed_timestamp_lag_ms: 3_000,
            gc_ttl_ms: 4 * 3_600_000,
            gc_interval_ms: 60_000,
            gc_garbage_bytes_min: 64 << 10,
            record_retention_ms: 600_000,
            txn_heartbeat_ms: 500,
            push_delay_ms: 50,
            liveness_interval_ms: 1_000,
            node_suspect_after_ms: 4_000,
            node_dead_after_ms: 300_000,
            lease_rebalancing: false,
            placement_interval_ms: 1_000,
            learner_patience_ms: 45_000,
            directory_interval_ms: 30_000,
            replica_silent_after_ms: 5_000,
            disk_floor_bytes: 256 << 20,
            disk_ballast_bytes: 128 << 20,
            disk_interval_ms: 1_000,
            snapshot_batch_bytes: 4 << 20,
            check_interval_ms: 86_400_000,
            check_bytes_a_second: 8 << 20,
        }
    }
}

impl Settings {
    /// How long a batch that names no timeout waits.
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// How many voters a range should have, where there are nodes enough, in a cluster of this replication factor.
    pub fn voters_of(&self, range_id: u64, replication_factor: usize) -> usize {
        match range_id {
            FIRST_RANGE_ID => self.system_replication_target.max(replication_factor),
            _ => replication_factor,
        }
    }

    /// How many voters a range lacks something without, in a cluster of so many nodes and this replication factor.
    pub fn voters_wanted(&self, range_id: u64, replication_factor: usize, nodes: usize) -> usize {
        let most = if nodes.is_multiple_of(2) { nodes.saturating_sub(1) } else { nodes };
        self.voters_of(range_id, replication_factor).min(most).max(replication_factor)
    }

    /// How long a learner of a range of so many bytes may take.
    pub fn learner_patience(&self, bytes: u64) -> Duration {
        Duration::from_millis(self.learner_patience_ms) + Duration::from_secs(bytes / COPIED_BYTES_A_SECOND_MIN)
    }

    /// How long a lease lasts.
    pub fn lease_duration(&self) -> Duration {
        Duration::from_millis(self.lease_duration_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;

    #[test]
    fn a_snapshot_is_sent_anew_before_its_learner_is_given_up() {
        let step = raft_groups::GroupConfig::default().longest_snapshot_step();
        assert!(Settings::default().learner_patience(0) > step, "one lost answer would be taken for a stuck learner");
    }
}
