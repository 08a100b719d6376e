//! Founding a cluster: everything that a new cluster begins with is written in one batch.
//!
//! ```text
//!   identity ⧺ first ranges ⧺ their directory entries ⧺ the counters that they and the founder were counted by ⧺ settings
//!      └───────────────────────── one batch, one sync ─────────────────────────┘
//!
//!   killed before the sync   nothing was founded: the next life begins anew
//!   killed after it          the next life is that of a former member, like any other
//! ```
//!
//! Invariant (`founded_whole`): a store that knows its identity knows what was counted for it. Were the counters written
//! later, by requests like any other, a founder killed in between would give its own ID to the next node, and the first
//! range's to the first range split off.

use bytes::Bytes;
use clock::Timestamp;
use prost::Message;

use crate::descriptor::{RangeDescriptor, ReplicaDescriptor, ReplicaRole};
use crate::directory::{DATA_RANGE_ID, FIRST_RANGE_ID};
use crate::engine::{Engine, EngineError, Overlay, WriteBatch};
use crate::keys;
use crate::liveness::NODE_ID_COUNTER;
use crate::mvcc::{self, MvccStats, WriteMode, WriteOutcome};
use crate::replica::admin::RANGE_ID_COUNTER;
use crate::settings::Settings;
use crate::settings::cluster::REPLICATION_FACTOR;
use crate::store::{Store, StoreIdentity};

/// The node that founds a cluster.
pub(super) const FOUNDER: u64 = 1;

/// When the first rows were written: below every clock, so that whoever's clock lags reads them too.
const FOUNDED_AT: Timestamp = Timestamp::new(1, 0);

/// Founds a cluster in a store that belongs to none: it is durable on return.
///
/// # Errors
/// When the engine fails; then nothing was founded.
pub(super) fn found(engine: &dyn Engine, identity: &StoreIdentity, settings: &Settings) -> Result<(), EngineError> {
    let ranges = first_ranges();
    let mut batch = WriteBatch::new();
    identity.save(&mut batch);
    for range in &ranges {
        let reader = engine.snapshot();
        let (mut overlay, mut stats) = (Overlay::new(&*reader), MvccStats::default());
        for (key, value) in first_rows(&ranges, settings).into_iter().filter(|(key, _)| range.contains(key)) {
            let mode = WriteMode::Committed { commit_timestamp: FOUNDED_AT, relaxed: false, txn: None };
            let outcome = mvcc::write(&mut overlay, &mut stats, &key, Some(value), mode)?;
            if !matches!(outcome, WriteOutcome::Written { .. }) {
                return Err(EngineError::Corrupt("a store without an identity holds rows".to_owned()));
            }
        }
        batch.append(overlay.into_batch());
        Store::seed(FOUNDER, range, stats, &mut batch);
    }
    engine.write(batch)?;
    engine.sync()
}

/// The ranges of a new cluster, with one replica each.
fn first_ranges() -> [RangeDescriptor; 2] {
    let data_start = Bytes::from_static(&[keys::TABLE]);
    let bounds = [
        (FIRST_RANGE_ID, Bytes::from_static(keys::MIN), data_start.clone()),
        (DATA_RANGE_ID, data_start, Bytes::new()),
    ];
    bounds.map(|(range_id, start, end)| {
        let role = ReplicaRole::Voter.into();
        let replicas = vec![ReplicaDescriptor { replica_id: 1, node_id: FOUNDER, role, replaces: 0 }];
        RangeDescriptor { range_id, start, end, generation: 1, replicas, next_replica_id: 2 }
    })
}

/// The directory, the newest IDs in use, and how many copies the cluster keeps.
fn first_rows(ranges: &[RangeDescriptor], settings: &Settings) -> Vec<(Bytes, Bytes)> {
    let newest_range = ranges.iter().map(|range| range.range_id).max().unwrap_or(0);
    let counters = [(NODE_ID_COUNTER, FOUNDER), (RANGE_ID_COUNTER, newest_range)];
    let counters = counters.map(|(name, id)| (keys::counter(name), Bytes::copy_from_slice(&id.to_be_bytes())));
    let entries = ranges.iter().flat_map(|range| {
        let entry = Bytes::from(range.encode_to_vec());
        [(keys::meta(&range.end), entry.clone()), (keys::range_entry(range.range_id), entry)]
    });
    let copies = settings.replication_target.to_string().into_bytes().into();
    entries.chain(counters).chain([(keys::setting(REPLICATION_FACTOR), copies)]).collect()
}
