//! The lock table: who holds which key for the length of a transaction, and who waits, in order.
//!
//! ```text
//!            ┌ holder: T1 (an unreplicated exclusive lock, or an intent that was met)
//!   key "a" ─┤
//!            └ queue:  request 5 (T2) ─▶ request 8 (T3)       ordered by arrival; the head goes when the holder leaves
//! ```
//!
//! Unreplicated locks live only here. Intents live in the engine and are entered here when a request meets them,
//! so that those who wait form one queue. A request keeps its places in the queues until it is done, so that a
//! later one does not slip in when the lock is free and the head is still waking up.
//!
//! Only those are woken who can go on, or have something to do: when the holder leaves, readers and the head of the queue; when the
//! head leaves while the key is held, its successor, who pushes from then on. So a release costs the same however long the queue
//! is.
//!
//! Invariants: `lock_exclusive` (at most one holder a key), `lock_fifo` (a locking request goes before another only
//! if it arrived earlier, or its transaction holds the lock). Reads that do not lock heed intents only, and
//! never queue. The module knows nothing of latches, timeouts or pushes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use clock::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::api::{TxnId, TxnMeta};

/// What a request wants of the keys of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockAccess {
    /// To see what is committed at `read`; marked values count up to `uncertainty_limit`.
    Read {
        /// The snapshot.
        read: Timestamp,
        /// Upper end, inclusive, of the uncertainty interval.
        uncertainty_limit: Timestamp,
    },
    /// To write or lock.
    Write,
}

/// A span a request wants: `[start, end)`, or the one key `start` when `end` is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockSpan {
    /// First key, inclusive.
    pub start: Bytes,
    /// End, exclusive; an empty one stands for the end of the keyspace.
    pub end: Option<Bytes>,
    /// What for.
    pub access: LockAccess,
}

/// Who holds a key.
#[derive(Clone, Debug, PartialEq)]
pub struct LockHolder {
    /// The transaction, as it was last seen.
    pub txn: TxnMeta,
    /// It left an intent.
    pub replicated: bool,
    /// It holds an unreplicated lock.
    pub unreplicated: bool,
    /// When the lock was taken or met, by this node's clock.
    pub last_active: Timestamp,
}

/// In whose way a request is, and how it learns that this changed.
#[derive(Clone, Debug)]
pub struct Blocked {
    /// Where.
    pub key: Bytes,
    /// The holder; without one, an earlier request of the queue goes first.
    pub holder: Option<LockHolder>,
    /// The transaction of the earlier request, when there is no holder.
    pub ahead: Option<TxnMeta>,
    /// Whether this request is the one that pushes the holder for the whole queue.
    pub pushes: bool,
    /// Rings when something changed at the key.
    pub changed: Arc<Notify>,
}

/// A request as the lock table knows it; its places in queues are given up by [`LockTable::leave`].
#[derive(Debug)]
pub struct LockRequest {
    /// The order of arrival.
    pub sequence: u64,
    /// Whom it acts for.
    pub txn: Option<TxnMeta>,
    /// What it wants.
    pub spans: Vec<LockSpan>,
    changed: Arc<Notify>,
    places: BTreeSet<Bytes>,
}

#[derive(Debug)]
struct Waiter {
    sequence: u64,
    txn: Option<TxnMeta>,
    /// Locking requests queue; reads only wait for the holder.
    locking: bool,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct LockState {
    holder: Option<LockHolder>,
    /// Ordered by `sequence`.
    queue: Vec<Waiter>,
}

#[derive(Debug, Default)]
struct Inner {
    last_sequence: u64,
    locks: BTreeMap<Bytes, LockState>,
    held: BTreeMap<TxnId, BTreeSet<Bytes>>,
}

/// The lock table of one range.
#[derive(Debug, Default)]
pub struct LockTable {
    inner: Mutex<Inner>,
}

impl LockTable {
    /// A request that arrives now.
    pub fn arrive(&self, txn: Option<TxnMeta>, spans: Vec<LockSpan>) -> LockRequest {
        let mut inner = self.inner.lock();
        inner.last_sequence += 1;
        LockRequest {
            sequence: inner.last_sequence,
            txn,
            spans,
            changed: Arc::new(Notify::new()),
            places: BTreeSet::new(),
        }
    }

    /// Looks for something in the request's way; it then takes its place in that queue.
    pub fn check(&self, request: &mut LockRequest) -> Option<Blocked> {
        let mut inner = self.inner.lock();
        if inner.locks.is_empty() {
            return None;
        }
        let key = request.spans.iter().find_map(|span| inner.find_blocked(request, span))?;
        let locks = &mut inner.locks;
        let state = locks.get_mut(&key).expect("a key in the way is in the table");
        request.places.insert(key.clone());
        if !state.has_place(request.sequence) {
            state.enqueue(request, &key);
        }
        Some(state.blocked(request.sequence, key))
    }

    /// Whether the request that was blocked at the key still is.
    pub fn still_blocked(&self, request: &LockRequest, key: &Bytes) -> Option<Blocked> {
        let inner = self.inner.lock();
        let state = inner.locks.get(key)?;
        let stands = state.has_place(request.sequence)
            && request.spans.iter().any(|span| span.contains(key) && state.is_blocked(request, span.access));
        stands.then(|| state.blocked(request.sequence, key.clone()))
    }

    /// Enters an intent that a request met.
    pub fn discover(&self, key: &Bytes, txn: &TxnMeta, now: Timestamp) {
        self.inner.lock().hold(key, txn, true, now);
    }

    /// Takes an unreplicated lock. REQUIRES: a write latch on the key, and that [`LockTable::check`] found nothing.
    pub fn acquire(&self, key: &Bytes, txn: &TxnMeta, now: Timestamp) {
        self.inner.lock().hold(key, txn, false, now);
    }

    /// Gives up the places of a request that is done.
    pub fn leave(&self, request: &mut LockRequest) {
        if request.places.is_empty() {
            return;
        }
        let mut inner = self.inner.lock();
        for key in std::mem::take(&mut request.places) {
            let Some(state) = inner.locks.get_mut(&key) else { continue };
            let was_head = state.head().is_some_and(|head| head.sequence == request.sequence);
            state.queue.retain(|waiter| waiter.sequence != request.sequence);
            if was_head {
                state.wake_next();
            }
            inner.drop_if_empty(&key);
        }
    }

    /// The transaction no longer holds the key, or (when it was only pushed) stands at a later timestamp.
    pub fn update(&self, key: &[u8], txn: TxnId, ended: bool, write_timestamp: Timestamp) {
        self.inner.lock().update(key, txn, ended, write_timestamp);
    }

    /// The transaction holds nothing in `[start, end)` any more (an empty end: to the end of the keyspace), or
    /// stands at a later timestamp there.
    pub fn update_span(&self, start: &[u8], end: &[u8], txn: TxnId, ended: bool, write_timestamp: Timestamp) {
        let mut inner = self.inner.lock();
        let Some(keys) = inner.held.get(&txn) else { return };
        let inside = |key: &&Bytes| &key[..] >= start && (end.is_empty() || &key[..] < end);
        for key in keys.iter().filter(inside).cloned().collect::<Vec<_>>() {
            inner.update(&key, txn, ended, write_timestamp);
        }
    }

    /// Releases the unreplicated locks of a transaction in a span; intents stay.
    pub fn release_unreplicated(&self, start: &[u8], end: &[u8], txn: TxnId) {
        let mut inner = self.inner.lock();
        let Some(keys) = inner.held.get(&txn) else { return };
        let inside = |key: &&Bytes| &key[..] >= start && (end.is_empty() || &key[..] < end);
        for key in keys.iter().filter(inside).cloned().collect::<Vec<_>>() {
            inner.release(&key, txn, false);
        }
    }

    /// The transaction has no intent on the key any more; an unreplicated lock stays.
    pub fn release_replicated(&self, key: &[u8], txn: TxnId) {
        self.inner.lock().release(key, txn, true);
    }

    /// The keys a transaction holds by intents, as far as they were met: what its end may resolve at once.
    pub fn intents_of(&self, txn: TxnId) -> Vec<Bytes> {
        let inner = self.inner.lock();
        let keys = inner.held.get(&txn).into_iter().flatten();
        let replicated = |key: &&Bytes| {
            let holder = inner.locks.get(*key).and_then(|state| state.holder.as_ref());
            holder.is_some_and(|holder| holder.replicated)
        };
        keys.filter(replicated).cloned().collect()
    }

    /// Forgets everything at or above a key (an empty one: everything), and wakes all who wait there: the lease
    /// is gone, or the keys belong to another range now.
    pub fn clear_from(&self, start: &[u8]) {
        let mut inner = self.inner.lock();
        let gone = if start.is_empty() { std::mem::take(&mut inner.locks) } else { inner.locks.split_off(start) };
        for (key, state) in gone {
            if let Some(holder) = &state.holder {
                inner.forget_held(holder.txn.id, &key);
            }
            state.queue.iter().for_each(|waiter| waiter.changed.notify_one());
        }
    }

    /// The unreplicated locks at or above a key, for the range that takes them over.
    pub fn unreplicated_from(&self, start: &[u8]) -> Vec<(Bytes, LockHolder)> {
        let inner = self.inner.lock();
        let from = (Bound::Included(start), Bound::Unbounded);
        let held = inner.locks.range::<[u8], _>(from).filter_map(|(key, state)| Some((key, state.holder.as_ref()?)));
        held.filter(|(_, holder)| holder.unreplicated).map(|(key, holder)| (key.clone(), holder.clone())).collect()
    }

    /// The table as text, one line a key: for scripts and for people.
    pub fn describe(&self) -> Vec<String> {
        let inner = self.inner.lock();
        let line = |(key, state): (&Bytes, &LockState)| {
            let name = |txn: &TxnMeta| format!("{:x}", txn.id.low);
            let holder = state.holder.as_ref().map_or("-".to_owned(), |holder| {
                let kind = match (holder.replicated, holder.unreplicated) {
                    (true, true) => "intent+lock",
                    (true, false) => "intent",
                    _ => "lock",
                };
                format!("{} ({kind})", name(&holder.txn))
            });
            let queue: Vec<String> = state
                .queue
                .iter()
                .map(|waiter| {
                    let who = waiter.txn.as_ref().map_or("-".to_owned(), name);
                    format!("{}:{who}{}", waiter.sequence, if waiter.locking { "" } else { " (read)" })
                })
                .collect();
            format!("{}: holder {holder}, queue [{}]", key.escape_ascii(), queue.join(", "))
        };
        inner.locks.iter().map(line).collect()
    }
}

impl LockSpan {
    fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            None => self.start == key,
            Some(end) => self.start <= key && (end.is_empty() || key < &end[..]),
        }
    }
}

impl Inner {
    /// The first key of the span where something is in the request's way.
    fn find_blocked(&self, request: &LockRequest, span: &LockSpan) -> Option<Bytes> {
        let Some(end) = &span.end else {
            let state = self.locks.get(&span.start)?;
            return state.is_blocked(request, span.access).then(|| span.start.clone());
        };
        if !end.is_empty() && span.start >= *end {
            return None;
        }
        let upper = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end.clone()) };
        let mut inside = self.locks.range((Bound::Included(span.start.clone()), upper));
        inside.find(|(_, state)| state.is_blocked(request, span.access)).map(|(key, _)| key.clone())
    }

    fn hold(&mut self, key: &Bytes, txn: &TxnMeta, replicated: bool, now: Timestamp) {
        let state = self.locks.entry(key.clone()).or_default();
        match &mut state.holder {
            Some(holder) if holder.txn.id == txn.id => {
                holder.replicated |= replicated;
                holder.unreplicated |= !replicated;
                if txn.epoch >= holder.txn.epoch {
                    holder.txn = txn.clone();
                }
            }
            Some(holder) => {
                // An intent was met under another's unreplicated lock: the table lost sight of a release. The
                // engine is right, the table only advises.
                assert!(replicated, "lock_exclusive: {} holds the key that {} locks", holder.txn.id, txn.id);
                let former = std::mem::replace(
                    holder,
                    LockHolder { txn: txn.clone(), replicated: true, unreplicated: false, last_active: now },
                );
                self.forget_held(former.txn.id, key);
            }
            None => {
                state.holder =
                    Some(LockHolder { txn: txn.clone(), replicated, unreplicated: !replicated, last_active: now });
            }
        }
        self.held.entry(txn.id).or_default().insert(key.clone());
    }

    fn update(&mut self, key: &[u8], txn: TxnId, ended: bool, write_timestamp: Timestamp) {
        let Some(state) = self.locks.get_mut(key) else { return };
        let Some(holder) = state.holder.as_mut().filter(|holder| holder.txn.id == txn) else { return };
        if ended {
            state.holder = None;
            state.wake_next();
            self.forget_held(txn, key);
            self.drop_if_empty(key);
        } else if holder.txn.write_timestamp < write_timestamp {
            holder.txn.write_timestamp = write_timestamp;
            state.wake_readers();
        }
    }

    /// The holder keeps the key only if it does so in the other way, too.
    fn release(&mut self, key: &[u8], txn: TxnId, replicated: bool) {
        let Some(state) = self.locks.get_mut(key) else { return };
        let Some(holder) = state.holder.as_mut().filter(|holder| holder.txn.id == txn) else { return };
        if replicated {
            holder.replicated = false;
        } else {
            holder.unreplicated = false;
        }
        if holder.replicated || holder.unreplicated {
            return state.wake_readers();
        }
        // The transaction goes on: whoever has noted to wait for it must note otherwise, or a deadlock would be seen where
        // none is.
        state.wake_all();
        self.update(key, txn, true, Timestamp::MIN);
    }

    fn forget_held(&mut self, txn: TxnId, key: &[u8]) {
        if let Some(keys) = self.held.get_mut(&txn) {
            keys.remove(key);
            if keys.is_empty() {
                self.held.remove(&txn);
            }
        }
    }

    fn drop_if_empty(&mut self, key: &[u8]) {
        if self.locks.get(key).is_some_and(|state| state.holder.is_none() && state.queue.is_empty()) {
            self.locks.remove(key);
        }
    }
}

impl LockState {
    fn is_blocked(&self, request: &LockRequest, access: LockAccess) -> bool {
        let own = request.txn.as_ref().map(|txn| txn.id);
        if let Some(holder) = &self.holder {
            if Some(holder.txn.id) == own {
                return false;
            }
            match access {
                LockAccess::Write => return true,
                LockAccess::Read { read, uncertainty_limit } => {
                    let until = if holder.txn.relaxed { read.max(uncertainty_limit) } else { read };
                    return holder.replicated && holder.txn.write_timestamp <= until;
                }
            }
        }
        access == LockAccess::Write && self.ahead_of(request.sequence, own).is_some()
    }

    fn has_place(&self, sequence: u64) -> bool {
        self.queue.iter().any(|waiter| waiter.sequence == sequence)
    }

    /// The first locking request of another transaction that arrived earlier.
    fn ahead_of(&self, sequence: u64, own: Option<TxnId>) -> Option<&Waiter> {
        let head = self.head()?;
        let same_txn = own.is_some() && head.txn.as_ref().map(|txn| txn.id) == own;
        (head.sequence < sequence && !same_txn).then_some(head)
    }

    fn enqueue(&mut self, request: &LockRequest, key: &Bytes) {
        let locking = request.spans.iter().any(|span| span.access == LockAccess::Write && span.contains(key));
        let waiter =
            Waiter { sequence: request.sequence, txn: request.txn.clone(), locking, changed: request.changed.clone() };
        let at = self.queue.partition_point(|other| other.sequence < request.sequence);
        self.queue.insert(at, waiter);
        assert!(self.queue.is_sorted_by(|a, b| a.sequence < b.sequence), "lock_fifo: the queue is out of order");
    }

    fn blocked(&self, sequence: u64, key: Bytes) -> Blocked {
        let me = self.queue.iter().find(|waiter| waiter.sequence == sequence).expect("who is blocked has its place");
        let ahead = self.queue.iter().find(|waiter| waiter.locking && waiter.sequence < sequence);
        Blocked {
            key,
            holder: self.holder.clone(),
            ahead: ahead.and_then(|waiter| waiter.txn.clone()).filter(|_| self.holder.is_none()),
            pushes: self.holder.is_some() && (!me.locking || ahead.is_none()),
            changed: me.changed.clone(),
        }
    }

    /// The locking request that goes first.
    fn head(&self) -> Option<&Waiter> {
        self.queue.iter().find(|waiter| waiter.locking)
    }

    fn wake_all(&self) {
        self.queue.iter().for_each(|waiter| waiter.changed.notify_one());
    }

    fn wake_readers(&self) {
        self.queue.iter().filter(|waiter| !waiter.locking).for_each(|waiter| waiter.changed.notify_one());
    }

    /// The holder, or the head, is another one now.
    fn wake_next(&self) {
        if self.holder.is_none() {
            self.wake_readers();
        }
        let Some(head) = self.head() else { return };
        head.changed.notify_one();
        // A transaction is not in its own way, be it the holder's or the head's.
        let txn = |waiter: &Waiter| waiter.txn.as_ref().map(|txn| txn.id);
        let first = self.holder.as_ref().map(|holder| holder.txn.id).or(txn(head));
        let own = self.queue.iter().filter(|waiter| waiter.locking && first.is_some() && txn(waiter) == first);
        own.for_each(|waiter| waiter.changed.notify_one());
    }
}

#[cfg(test)]
mod tests;
