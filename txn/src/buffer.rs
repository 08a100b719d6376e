//! The write buffer: a transaction's writes that no range knows of yet.
//!
//! ```text
//!   entries      a=1  b=2  c=⌫       what the transaction sees
//!   undo         b→(none)  c→3       what the statement in hand has changed, and from what
//!   savepoints   a→(none)            what was changed since each savepoint, up to the next one or the statement in hand
//! ```
//!
//! Every write has a number. What is spilled becomes an intent, which remembers each write by its number, so that going back is
//! then a matter of ignoring numbers. For that, a spill takes along what `undo` and `savepoints` keep.
//!
//! Invariant: restoring `undo`, then layers of `savepoints` from the last one down, gives the buffer as it was at the mark or the
//! savepoint, but for what has become an intent since: there the intents' writes of that time are what the transaction sees.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use bytes::Bytes;
use kv::api::{Delete, KeyValue, Put, Request, RequestKind};

/// Buffered writes; see the module.
#[derive(Debug, Default)]
pub(crate) struct WriteBuffer {
    entries: BTreeMap<Bytes, Write>,
    undo: Layer,
    savepoints: Vec<Layer>,
    bytes: usize,
    /// What the layers of savepoints hold.
    layer_bytes: usize,
}

/// Keys that were written, and what stood in the buffer before.
type Layer = BTreeMap<Bytes, Option<Write>>;

/// One write: a value, or a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Write {
    value: Option<Bytes>,
    sequence: u32,
}

/// What a write costs besides its key and value.
const WRITE_OVERHEAD_BYTES: usize = 96;

fn cost(key: &Bytes, write: &Write) -> usize {
    WRITE_OVERHEAD_BYTES + key.len() + write.value.as_ref().map_or(0, Bytes::len)
}

/// What a layer keeps of a key.
fn kept_cost(key: &Bytes, former: &Option<Write>) -> usize {
    former.as_ref().map_or(WRITE_OVERHEAD_BYTES + key.len(), |write| cost(key, write))
}

fn layer_cost(layer: &Layer) -> usize {
    layer.iter().map(|(key, former)| kept_cost(key, former)).sum()
}

impl WriteBuffer {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of keys and values, of what savepoints keep too, overhead included.
    pub fn bytes(&self) -> usize {
        self.bytes + self.layer_bytes
    }

    /// Keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.entries.keys()
    }

    pub fn first_key(&self) -> Option<&Bytes> {
        self.entries.keys().next()
    }

    pub fn contains(&self, key: &[u8]) -> bool {
        self.entries.contains_key(key)
    }

    /// Buffers a write, in place of an older one of the same key.
    pub fn write(&mut self, key: Bytes, value: Option<Bytes>, sequence: u32) {
        let write = Write { value, sequence };
        self.bytes += cost(&key, &write);
        let former = match self.entries.entry(key.clone()) {
            Entry::Vacant(place) => {
                place.insert(write);
                None
            }
            Entry::Occupied(mut place) => Some(place.insert(write)),
        };
        if let Some(former) = &former {
            self.bytes -= cost(&key, former);
        }
        self.undo.entry(key).or_insert(former);
    }

    /// The buffered write of a key: `None` when there is none, `Some(None)` when it deletes.
    pub fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        self.entries.get(key).map(|write| write.value.clone())
    }

    /// Starts a statement: what was written so far will not be undone by a rewind.
    pub fn mark(&mut self) {
        let undo = std::mem::take(&mut self.undo);
        if let Some(layer) = self.savepoints.last_mut() {
            for (key, former) in undo {
                if let Entry::Vacant(place) = layer.entry(key) {
                    self.layer_bytes += kept_cost(place.key(), &former);
                    place.insert(former);
                }
            }
        }
    }

    /// Undoes what was written since the mark.
    pub fn rewind(&mut self) {
        let undo = std::mem::take(&mut self.undo);
        self.restore(undo);
    }

    /// Sets a savepoint, and marks. Answers how many there were.
    pub fn set_savepoint(&mut self) -> usize {
        self.mark();
        self.savepoints.push(Layer::default());
        self.savepoints.len() - 1
    }

    /// Undoes what was written since a savepoint, which stays; later ones are gone.
    pub fn roll_back_to(&mut self, savepoint: usize) {
        self.rewind();
        while self.savepoints.len() > savepoint {
            let layer = self.savepoints.pop().expect("there are more than that");
            self.restore(layer);
        }
        self.savepoints.push(Layer::default());
        self.layer_bytes = self.savepoints.iter().map(layer_cost).sum();
    }

    /// Forgets a savepoint and all later ones; what was written since stays.
    pub fn release(&mut self, savepoint: usize) {
        self.mark();
        for layer in self.savepoints.split_off(savepoint) {
            let Some(below) = self.savepoints.last_mut() else { continue };
            for (key, former) in layer {
                below.entry(key).or_insert(former);
            }
        }
        self.layer_bytes = self.savepoints.iter().map(layer_cost).sum();
    }

    fn restore(&mut self, layer: Layer) {
        for (key, former) in layer {
            let undone = match former {
                Some(write) => {
                    self.bytes += cost(&key, &write);
                    self.entries.insert(key.clone(), write)
                }
                None => self.entries.remove(&key),
            };
            if let Some(undone) = undone {
                self.bytes -= cost(&key, &undone);
            }
        }
    }

    /// All that a rewind or a savepoint may need, as requests in key order, cut into batches of about `batch_bytes`.
    pub fn to_spill(&self, batch_bytes: usize) -> Vec<Vec<Request>> {
        let kept = self.savepoints.iter().chain([&self.undo]).flatten();
        let mut writes: Vec<(&Bytes, &Write)> =
            kept.filter_map(|(key, former)| Some((key, former.as_ref()?))).chain(&self.entries).collect();
        writes.sort_by_key(|(key, write)| (*key, write.sequence));
        batches(writes.into_iter(), batch_bytes)
    }

    /// The writes as requests, in key order, cut into batches of about `batch_bytes`.
    pub fn to_batches(&self, batch_bytes: usize) -> Vec<Vec<Request>> {
        batches(self.entries.iter(), batch_bytes)
    }

    /// The writes as requests, in key order, with room for one more request.
    pub fn to_requests(&self) -> Vec<Request> {
        let mut requests = Vec::with_capacity(self.entries.len() + 1);
        requests.extend(self.entries.iter().map(|(key, write)| to_request(key, write)));
        requests
    }

    /// Forgets every write at or below a sequence number: it became an intent.
    pub fn forget_through(&mut self, sequence: u32) {
        let entries = &mut self.entries;
        entries.retain(|_, write| write.sequence > sequence);
        self.bytes = entries.iter().map(|(key, write)| cost(key, write)).sum();
        for layer in self.savepoints.iter_mut().chain([&mut self.undo]) {
            layer.retain(|key, former| {
                former.take_if(|write| write.sequence <= sequence);
                entries.contains_key(key)
            });
        }
        self.layer_bytes = self.savepoints.iter().map(layer_cost).sum();
    }

    /// Lays the buffered writes of `[start, end)` over rows that a range returned of it, in the direction of the scan.
    ///
    /// `before_statement` leaves out what the statement in hand has written.
    pub fn overlay(
        &self,
        rows: Vec<KeyValue>,
        (start, end): (&[u8], &[u8]),
        reverse: bool,
        before_statement: bool,
    ) -> Vec<KeyValue> {
        if start >= end {
            return rows;
        }
        let mut own = self
            .entries
            .range::<[u8], _>((Bound::Included(start), Bound::Excluded(end)))
            .filter_map(|(key, write)| self.as_seen(key, write, before_statement))
            .peekable();
        if own.peek().is_none() {
            return rows;
        }
        let own: Vec<(&Bytes, &Write)> = own.collect();
        if reverse { merge(rows, own.into_iter().rev(), true) } else { merge(rows, own.into_iter(), false) }
    }

    fn as_seen<'a>(
        &'a self,
        key: &'a Bytes,
        write: &'a Write,
        before_statement: bool,
    ) -> Option<(&'a Bytes, &'a Write)> {
        if !before_statement {
            return Some((key, write));
        }
        match self.undo.get(key) {
            Some(former) => former.as_ref().map(|write| (key, write)),
            None => Some((key, write)),
        }
    }
}

fn batches<'a>(writes: impl Iterator<Item = (&'a Bytes, &'a Write)>, batch_bytes: usize) -> Vec<Vec<Request>> {
    let mut batches = Vec::new();
    let (mut batch, mut size) = (Vec::new(), 0);
    for (key, write) in writes {
        size += cost(key, write);
        batch.push(to_request(key, write));
        if size >= batch_bytes {
            batches.push(std::mem::take(&mut batch));
            size = 0;
        }
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

fn to_request(key: &Bytes, write: &Write) -> Request {
    let (key, sequence) = (key.clone(), write.sequence);
    match &write.value {
        Some(value) => RequestKind::Put(Put { key, value: value.clone(), sequence, invisible: false }).into(),
        None => RequestKind::Delete(Delete { key, sequence }).into(),
    }
}

fn merge<'a>(rows: Vec<KeyValue>, own: impl Iterator<Item = (&'a Bytes, &'a Write)>, reverse: bool) -> Vec<KeyValue> {
    let mut merged = Vec::with_capacity(rows.len() + own.size_hint().0);
    let mut own = own.peekable();
    let push_own = |merged: &mut Vec<KeyValue>, (key, write): (&Bytes, &Write)| {
        if let Some(value) = &write.value {
            merged.push(KeyValue { key: key.clone(), value: value.clone() });
        }
    };
    for row in rows {
        let mut replaced = false;
        while let Some((key, _)) = own.peek() {
            let order = if reverse { row.key.cmp(key) } else { key.cmp(&&row.key) };
            if order == Ordering::Greater {
                break;
            }
            replaced |= order == Ordering::Equal;
            push_own(&mut merged, own.next().expect("it was just looked at"));
        }
        if !replaced {
            merged.push(row);
        }
    }
    own.for_each(|write| push_own(&mut merged, write));
    merged
}

#[cfg(test)]
mod tests;
