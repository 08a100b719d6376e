//! Where a transaction may hold locks, or have intents, by the savepoints that they were taken above.
//!
//! ```text
//!   a──d     k        savepoint     k   p──r      savepoint     q
//!   layer 0                         layer 1                     layer 2
//!
//!   rolled back to the first one: p──r is released; k stays, it was locked before
//! ```
//!
//! What was released stays known until the end: a request that was under way, or its copy, may have locked there since.

use kv::api::Span;

use crate::spans::{SpanSet, subtract};

/// Spans of locks, or of intents; see the module.
#[derive(Debug, Default)]
pub(crate) struct LockSpans {
    /// What was asked for before any savepoint.
    first: SpanSet,
    /// What was asked for since each of those that stand.
    layers: Vec<SpanSet>,
    released: SpanSet,
}

impl LockSpans {
    /// Covers a span; each layer is condensed by itself.
    pub fn insert(&mut self, span: Span, cap_bytes: usize) {
        self.layers.last_mut().unwrap_or(&mut self.first).insert(span, cap_bytes);
    }

    /// A savepoint is set.
    pub fn set_savepoint(&mut self) {
        self.layers.push(SpanSet::default());
    }

    /// A savepoint is rolled back to, which stays: what was asked for since, and not before.
    pub fn roll_back_to(&mut self, savepoint: usize, cap_bytes: usize) -> Vec<Span> {
        let mut since = self.layers.split_off(savepoint);
        let before = SpanSet::to_sorted_together([&self.first].into_iter().chain(&self.layers));
        let gone = subtract(SpanSet::to_sorted_together(&since), &before);
        since.iter_mut().for_each(|layer| self.released.take_from(layer, cap_bytes));
        self.layers.push(SpanSet::default());
        gone
    }

    /// A savepoint is forgotten, and those above it.
    pub fn release(&mut self, savepoint: usize, cap_bytes: usize) {
        for mut layer in self.layers.split_off(savepoint) {
            self.layers.last_mut().unwrap_or(&mut self.first).take_from(&mut layer, cap_bytes);
        }
    }

    /// Whether none was ever asked for.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty() && self.released.is_empty() && self.layers.iter().all(SpanSet::is_empty)
    }

    /// All of them in order, without overlaps.
    pub fn to_sorted(&self) -> Vec<Span> {
        SpanSet::to_sorted_together([&self.first, &self.released].into_iter().chain(&self.layers))
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = LockSpans::default();
    }
}
