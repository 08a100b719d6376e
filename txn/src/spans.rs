//! A bounded memory of spans: what a transaction has read, locked or written.
//!
//! ```text
//!   exact, as long as it fits:     a   c   d        k                p─────r
//!   condensed past the cap:        a───────d        k                p─────r      neighbours that share the
//!                                                                                 longest prefixes become one
//! ```
//!
//! Invariant: what was ever inserted stays covered until [`SpanSet::clear`]. Condensing only widens.

use bytes::Bytes;
use kv::api::Span;

/// Spans whose memory is bounded; see the module.
#[derive(Debug, Default)]
pub(crate) struct SpanSet {
    spans: Vec<Span>,
    bytes: usize,
    inserted: u64,
}

/// What a span costs besides its keys.
const SPAN_OVERHEAD_BYTES: usize = size_of::<Span>();

fn cost(span: &Span) -> usize {
    SPAN_OVERHEAD_BYTES + span.start.len() + span.end.len()
}

/// The span of one key.
pub(crate) fn point(key: Bytes) -> Span {
    Span { start: key, end: Bytes::new() }
}

/// The least key above the given one.
pub(crate) fn successor(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}

impl SpanSet {
    /// Whether nothing was inserted.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// How often a span was inserted, ever: tells whether the set has grown.
    pub fn inserted(&self) -> u64 {
        self.inserted
    }

    /// Covers a span, condensing when the set grows over `cap_bytes`.
    pub fn insert(&mut self, span: Span, cap_bytes: usize) {
        self.inserted += 1;
        let covers_nothing = !span.end.is_empty() && span.start >= span.end;
        if covers_nothing || self.spans.last() == Some(&span) {
            return;
        }
        self.bytes += cost(&span);
        self.spans.push(span);
        if self.bytes > cap_bytes {
            self.condense(cap_bytes);
        }
    }

    /// Moves everything from another set into this one.
    pub fn take_from(&mut self, other: &mut SpanSet, cap_bytes: usize) {
        self.inserted += other.inserted;
        self.bytes += other.bytes;
        self.spans.append(&mut other.spans);
        other.clear();
        if self.bytes > cap_bytes {
            self.condense(cap_bytes);
        }
    }

    /// Forgets everything but the count of insertions.
    pub fn clear(&mut self) {
        self.spans.clear();
        self.bytes = 0;
    }

    /// The spans of several sets in order, without overlaps.
    pub fn to_sorted_together<'a>(sets: impl IntoIterator<Item = &'a SpanSet>) -> Vec<Span> {
        let mut spans: Vec<Span> = sets.into_iter().flat_map(|set| &set.spans).cloned().collect();
        merge_overlapping(&mut spans);
        spans
    }

    /// The spans in order, without overlaps.
    pub fn to_sorted(&self) -> Vec<Span> {
        let mut spans = self.spans.clone();
        merge_overlapping(&mut spans);
        spans
    }

    fn condense(&mut self, cap_bytes: usize) {
        merge_overlapping(&mut self.spans);
        self.bytes = self.spans.iter().map(cost).sum();
        // Half the cap, so that the work is paid for by as many insertions again.
        while self.bytes > cap_bytes / 2 && self.spans.len() > 1 {
            join_nearest(&mut self.spans);
            self.bytes = self.spans.iter().map(cost).sum();
        }
    }
}

/// What of the spans the others do not cover. Both in order, without overlaps, as [`SpanSet::to_sorted`] gives them.
pub(crate) fn subtract(spans: Vec<Span>, others: &[Span]) -> Vec<Span> {
    let mut left = Vec::new();
    let mut others = others.iter().peekable();
    for span in spans {
        let (mut start, end) = (span.start.clone(), end_of(&span));
        while others.next_if(|other| end_of(other) <= start).is_some() {}
        let mut ahead = others.clone();
        while let Some(other) = ahead.next_if(|other| other.start < end) {
            if start < other.start {
                left.push(between(start, other.start.clone()));
            }
            start = end_of(other);
        }
        if start < end {
            left.push(between(start, end));
        }
    }
    left
}

fn between(start: Bytes, end: Bytes) -> Span {
    let is_point = end == successor(&start);
    Span { end: if is_point { Bytes::new() } else { end }, start }
}

/// The end of a span, exclusive, as a key.
fn end_of(span: &Span) -> Bytes {
    if span.end.is_empty() { successor(&span.start) } else { span.end.clone() }
}

/// Sorts, and makes one span of those that overlap.
fn merge_overlapping(spans: &mut Vec<Span>) {
    spans.sort_unstable();
    spans.dedup();
    spans.dedup_by(|next, kept| {
        let overlaps = if kept.end.is_empty() { next.start == kept.start } else { next.start < kept.end };
        if overlaps {
            join(kept, next);
        }
        overlaps
    });
}

/// Makes one span of each run of neighbours whose keys share at least the median prefix.
///
/// REQUIRES: sorted, no overlaps.
fn join_nearest(spans: &mut Vec<Span>) {
    let mut shared: Vec<usize> = spans.windows(2).map(|pair| common_prefix(&pair[0].start, &pair[1].start)).collect();
    shared.sort_unstable();
    let wanted = shared[shared.len() / 2];
    let mut last_start = Bytes::new();
    spans.dedup_by(|next, kept| {
        let base = if last_start.is_empty() { &kept.start } else { &last_start };
        let near = common_prefix(base, &next.start) >= wanted;
        last_start = next.start.clone();
        if near {
            join(kept, next);
        }
        near
    });
}

/// Widens `kept` to cover `other`, which does not start before it.
fn join(kept: &mut Span, other: &Span) {
    let end = end_of(kept).max(end_of(other));
    if end != successor(&kept.start) {
        kept.end = end;
    }
}

fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(l, r)| l == r).count()
}

#[cfg(test)]
mod tests;
