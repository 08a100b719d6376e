//! No write lands at or below a timestamp its key was read at: every read that was answered is read again, at its timestamp,
//! once all is over, and must answer the same.
//!
//! This catches stale reads as well: a leaseholder that answers without a write that stood below the read's timestamp.

use bytes::Bytes;
use clock::Timestamp;
use kv::engine::Engine;
use kv::mvcc::{self, ReadAt, ScanLimits};

use super::{Invariant, Sample};
use crate::sim::audit::{Audited, Read};

/// See the module.
#[derive(Debug, Default)]
pub struct ReadProtected {
    reads: Vec<Read>,
}

impl Invariant for ReadProtected {
    fn name(&self) -> &'static str {
        "read_protected"
    }

    fn audited(&mut self, audited: &Audited, _true_ns: u64) -> Result<(), String> {
        if let Audited::Read(read) = audited {
            self.reads.push(read.clone());
        }
        Ok(())
    }

    fn end(&mut self, sample: &Sample) -> Result<(), String> {
        for read in std::mem::take(&mut self.reads) {
            let Some((rows, checksum)) = read_again(sample, &read, read.at) else { continue };
            let answered = (read.rows, read.checksum);
            // Its own transaction may have committed at the very timestamp it read at, and nobody else.
            if (rows, checksum) != answered && read_again(sample, &read, before(read.at)) != Some(answered) {
                return Err(format!(
                    "node {} answered a read of {}..{} in range {} at {} with {} rows; read again it has {rows} rows, \
                     or others",
                    read.node,
                    read.start.escape_ascii(),
                    read.end.escape_ascii(),
                    read.range,
                    read.at,
                    read.rows
                ));
            }
        }
        Ok(())
    }
}

/// Rows and checksum now; `None` when that cannot be known: something is in the way, or was collected as garbage.
fn read_again(sample: &Sample, read: &Read, timestamp: Timestamp) -> Option<(u64, u64)> {
    let mut seen = (0u64, 0u64);
    let mut at = read.start.clone();
    // Splits may have cut the span into pieces since, and no node need hold all of them.
    loop {
        let holders = sample.nodes.iter().filter_map(|node| {
            let state = node.ranges.iter().find(|state| state.descriptor.contains(&at))?;
            Some((node, state))
        });
        // The last reads may be of what has applied at the leaseholder alone so far.
        let (node, state) = holders.max_by_key(|(_, state)| state.applied.last_applied.map(|last| last.index))?;
        if timestamp < state.gc_threshold {
            return None;
        }
        let end = earlier(&read.end, &state.descriptor.end);
        let rows = scan(&*node.engine.snapshot(), &at, &end, timestamp)?;
        seen = (seen.0 + rows.0, seen.1.wrapping_add(rows.1));
        if end == read.end {
            return Some(seen);
        }
        at = end;
    }
}

fn before(at: Timestamp) -> Timestamp {
    match at.logical.checked_sub(1) {
        Some(logical) => Timestamp::new(at.wall_ns, logical),
        None => Timestamp::new(at.wall_ns.saturating_sub(1), u32::MAX),
    }
}

fn earlier(one: &Bytes, other: &Bytes) -> Bytes {
    match (one.is_empty(), other.is_empty()) {
        (true, _) => other.clone(),
        (_, true) => one.clone(),
        _ => one.min(other).clone(),
    }
}

fn scan(reader: &dyn kv::engine::Reader, start: &[u8], end: &[u8], at: Timestamp) -> Option<(u64, u64)> {
    let found = mvcc::scan(reader, start, end, false, &ReadAt::timestamp(at), ScanLimits::default()).ok()?;
    if !found.blocked.is_empty() {
        return None;
    }
    let sum = found.rows.iter().fold(0u64, |sum, row| sum.wrapping_add(kv::replica::audit_checksum(&row.value)));
    Some((found.rows.len() as u64, sum))
}
