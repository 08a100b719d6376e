//! Finding the log again after a restart.
//!
//! ```text
//!   files ─▶ scan each: where do its good batches end? ─▶ chain them back from the newest ─▶ settle its end ─▶ replay
//! ```
//!
//! A batch is written only after all before it was synced. So what follows the last good batch of the newest
//! segment is a torn tail and discarded, unless a later header in that segment passes; and an older segment must
//! be good up to where the next one says it ended. Anything else is damage to what was once synced.
//!
//! What a killed process wrote and never synced may read well now and vanish at the next power loss, even if a
//! sync succeeds now, should the one before have failed: the last batch is written again and synced before
//! anything in it is relied on.

mod replay;
mod scan;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::WalError;
use super::format::{FORMAT_VERSION, SEGMENT_HEADER_BYTES};
use super::group_state::Group;
use super::pool::{FILE_SUFFIX, Spare};
use super::segment::Segment;
use crate::GroupId;
use crate::disk::{Dir, File};
use replay::Replay;
use scan::{Scan, scan};

/// What was found.
pub(super) struct Recovered {
    pub groups: BTreeMap<GroupId, Arc<Group>>,
    /// Oldest first.
    pub segments: VecDeque<Arc<Segment>>,
    /// The offset after the last batch of the last segment.
    pub end: u64,
    /// Above every sequence number ever written.
    pub next_sequence: u64,
    /// Above the number of every file.
    pub next_file: u64,
    pub spares: Vec<Spare>,
}

/// A file and what it holds.
struct Found {
    name: String,
    file: Arc<dyn File>,
    bytes: u64,
    scan: Scan,
}

/// Reads the log in the directory.
pub(super) fn recover(dir: &dyn Dir, segment_bytes: u64) -> Result<Recovered, WalError> {
    let (mut files, next_file) = find(dir)?;
    let next_sequence = files.iter().map(|found| found.scan.highest_sequence).max().unwrap_or(0) + 1;
    let chain = take_chain(&mut files)?;
    if let Some(newest) = chain.back() {
        settle_last_batch(newest).map_err(|error| WalError::io("rewrite the end of", &newest.name, error))?;
    }
    let spares = keep_spares(dir, files, segment_bytes)?;
    dir.sync().map_err(|error| WalError::io("sync", "the log's directory", error))?;
    let end = chain.back().map_or(0, |found| found.scan.end);
    let mut replay = Replay::default();
    let mut segments = VecDeque::new();
    for found in chain {
        let segment = Segment::new(found.scan.sequence, found.name, found.file, found.bytes);
        replay.segment(&segment, found.scan.end)?;
        segments.push_back(segment);
    }
    let newest = segments.back().map_or("the log", |segment| segment.name.as_str());
    let groups = replay.finish(newest)?;
    Ok(Recovered { groups, segments, end, next_sequence, next_file, spares })
}

/// Makes the last batch durable: all before it was synced, but it may not have been, and a sync that failed in
/// the former run may have left it in memory, marked as if it were on the disk. So it is written again.
fn settle_last_batch(newest: &Found) -> std::io::Result<()> {
    let Scan { last_write, end, .. } = newest.scan;
    let mut bytes = vec![0; usize::try_from(end - last_write).map_err(std::io::Error::other)?];
    newest.file.read_at(last_write, &mut bytes)?;
    newest.file.write_at(last_write, &bytes)?;
    newest.file.sync_data()
}

fn file_number(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_suffix(FILE_SUFFIX)?, 16).ok()
}

/// Scans every segment file; answers with the next free number too.
fn find(dir: &dyn Dir) -> Result<(Vec<Found>, u64), WalError> {
    let mut files = Vec::new();
    let mut next_file = 1;
    for name in dir.list().map_err(|error| WalError::io("list", "the log's directory", error))? {
        let Some(number) = file_number(&name) else { continue };
        next_file = next_file.max(number + 1);
        let file = dir.open(&name).map_err(|error| WalError::io("open", &name, error))?;
        let bytes = read_all(&name, &*file)?;
        let scan = scan(&bytes).map_err(|found| WalError::FormatVersion {
            file: name.clone(),
            found,
            expected: FORMAT_VERSION,
        })?;
        files.push(Found { name, file, bytes: bytes.len() as u64, scan });
    }
    Ok((files, next_file))
}

fn read_all(name: &str, file: &dyn File) -> Result<Vec<u8>, WalError> {
    let read = || {
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(std::io::Error::other)?];
        file.read_at(0, &mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|error| WalError::io("read", name, error))
}

/// Takes the segments the log consists of out of the files, oldest first, each with its true end.
fn take_chain(files: &mut Vec<Found>) -> Result<VecDeque<Found>, WalError> {
    let newest = files.iter().filter(|found| found.scan.has_batches()).map(|found| found.scan.sequence).max();
    let (chain, oldest) = match take_segment(files, newest) {
        Some(newest) => {
            let oldest = newest.scan.oldest;
            (take_back_to(files, newest, oldest)?, oldest)
        }
        None => (VecDeque::new(), 0),
    };
    // A segment whose own header is damaged, and that has batches which vouch for it.
    if let Some(headless) = files.iter().find(|found| found.scan.headless_sequence.is_some_and(|at| at >= oldest)) {
        return Err(damaged(headless, "the segment's header is damaged, and a batch vouches for it"));
    }
    Ok(chain)
}

/// Takes the newest segment and those it follows, back to the one of sequence number `oldest`.
fn take_back_to(files: &mut Vec<Found>, newest: Found, oldest: u64) -> Result<VecDeque<Found>, WalError> {
    if let Some(later) = newest.scan.later_header {
        let detail = format!("the batch here fails its checks, and the one at {later} vouches for it");
        return Err(damaged(&newest, &detail));
    }
    let mut chain = VecDeque::new();
    let mut current = newest;
    while current.scan.sequence != oldest {
        let (link, name) = (current.scan.previous, current.name.clone());
        chain.push_front(current);
        current = take_segment(files, Some(link.sequence)).ok_or_else(|| WalError::Corrupt {
            file: name.clone(),
            offset: SEGMENT_HEADER_BYTES as u64,
            detail: format!("it follows segment {}, which is missing or damaged at its head", link.sequence),
        })?;
        if current.scan.end < link.end {
            return Err(damaged(&current, &format!("the batch here fails its checks, and {name} vouches for it")));
        }
        current.scan.end = link.end;
    }
    chain.push_front(current);
    Ok(chain)
}

/// REQUIRES: no two files have batches of one sequence number.
fn take_segment(files: &mut Vec<Found>, sequence: Option<u64>) -> Option<Found> {
    let place = files.iter().position(|found| found.scan.has_batches() && Some(found.scan.sequence) == sequence)?;
    Some(files.swap_remove(place))
}

fn damaged(found: &Found, detail: &str) -> WalError {
    WalError::Corrupt { file: found.name.clone(), offset: found.scan.end, detail: detail.to_owned() }
}

/// Keeps what has the right length for later, and removes the rest.
fn keep_spares(dir: &dyn Dir, files: Vec<Found>, segment_bytes: u64) -> Result<Vec<Spare>, WalError> {
    let mut spares = Vec::new();
    for Found { name, file, bytes, .. } in files {
        if bytes == segment_bytes {
            // It may have been made moments before a crash.
            file.sync_all().map_err(|error| WalError::io("sync", &name, error))?;
            spares.push(Spare { name, file, bytes });
        } else {
            dir.remove(&name).map_err(|error| WalError::io("remove", &name, error))?;
        }
    }
    Ok(spares)
}
