//! What waits for the writer.
//!
//! Everything a group asks of the log is queued in order. Most of it is urgent and wakes the writer; commit
//! positions and purges are not, and ride with the next batch.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::WalError;
use super::group_log::OnSynced;
use super::group_state::Group;
use super::segment::Location;
use super::types::LogEntry;
use crate::LogPosition;

/// One thing to be written.
pub(super) struct Item {
    pub group: Arc<Group>,
    pub work: Work,
    /// Told when it is synced.
    pub on_synced: Option<OnSynced>,
    /// Entries it removes: their segments stay until it is synced.
    pub removed: Vec<Location>,
}

/// What is to be written.
pub(super) enum Work {
    /// Entries, each with its slot's number.
    Append(Vec<(u64, LogEntry)>),
    Vote(Bytes),
    Committed(LogPosition),
    Truncate(Option<u64>),
    Purge(LogPosition),
    Destroy,
}

impl Item {
    fn is_urgent(&self) -> bool {
        !matches!(self.work, Work::Committed(_) | Work::Purge(_))
    }

    /// About how many bytes it will take in a batch.
    fn weight(&self) -> usize {
        64 + match &self.work {
            Work::Append(entries) => entries.iter().map(|(_, entry)| 64 + entry.payload.len()).sum(),
            Work::Vote(vote) => vote.len(),
            _ => 0,
        }
    }
}

/// Bytes of work that is not urgent after which it is written all the same.
const PATIENCE_BYTES: usize = 256 << 10;

/// The queue between the groups and the writer.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Wakes a writer that is a thread.
    thread: Condvar,
    /// Wakes a writer that is a task.
    task: Notify,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    urgent: bool,
    weight: usize,
    /// Why nothing more is taken.
    refusal: Option<WalError>,
    /// Whether the writer is asked to write what there is, and stop.
    closing: bool,
}

impl Queue {
    /// Adds an item.
    ///
    /// # Errors
    /// The item itself, and why it is not taken.
    #[allow(clippy::result_large_err, reason = "the item goes back to its owner")]
    pub(super) fn push(&self, item: Item) -> Result<(), (Item, WalError)> {
        let mut state = self.state.lock();
        if let Some(refusal) = &state.refusal {
            return Err((item, refusal.clone()));
        }
        state.weight += item.weight();
        state.urgent |= item.is_urgent() || state.weight > PATIENCE_BYTES;
        let wake = state.urgent;
        state.items.push_back(item);
        drop(state);
        if wake {
            self.wake();
        }
        Ok(())
    }

    fn wake(&self) {
        self.thread.notify_one();
        self.task.notify_one();
    }

    /// Refuses what comes from now on, and asks the writer to stop after what is there.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closing = true;
        state.refusal.get_or_insert(WalError::Closed);
        drop(state);
        self.wake();
    }

    /// Refuses what comes from now on; answers with what was queued.
    pub(super) fn halt(&self) -> VecDeque<Item> {
        let mut state = self.state.lock();
        state.refusal.get_or_insert(WalError::Halted);
        state.closing = true;
        std::mem::take(&mut state.items)
    }

    /// Why nothing more is taken, if so.
    pub(super) fn refusal(&self) -> Option<WalError> {
        self.state.lock().refusal.clone()
    }

    /// Moves what is queued, up to a bound in bytes, to `batch`, blocking the thread until something is urgent.
    /// Answers whether the writer is to go on.
    pub(super) fn take_blocking(&self, max_bytes: usize, batch: &mut Vec<Item>) -> bool {
        let mut state = self.state.lock();
        while !state.urgent && !state.closing {
            self.thread.wait(&mut state);
        }
        state.take(max_bytes, batch)
    }

    /// As [`Queue::take_blocking`], waiting as a task.
    pub(super) async fn take(&self, max_bytes: usize, batch: &mut Vec<Item>) -> bool {
        loop {
            let woken = self.task.notified();
            {
                let mut state = self.state.lock();
                if state.urgent || state.closing {
                    return state.take(max_bytes, batch);
                }
            }
            woken.await;
        }
    }
}

impl State {
    fn take(&mut self, max_bytes: usize, batch: &mut Vec<Item>) -> bool {
        if self.items.is_empty() {
            self.urgent = false;
            return !self.closing;
        }
        let mut bytes = 0;
        while let Some(item) = self.items.front() {
            bytes += item.weight();
            if bytes > max_bytes && !batch.is_empty() {
                return true;
            }
            self.weight = self.weight.saturating_sub(item.weight());
            batch.extend(self.items.pop_front());
        }
        self.urgent = false;
        self.weight = 0;
        true
    }
}
