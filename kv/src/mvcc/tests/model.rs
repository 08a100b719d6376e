//! Random histories on both the real thing and a model that keeps everything in plain maps.

use std::collections::BTreeMap;

use bytes::Bytes;
use clock::Timestamp;
use proptest::prelude::*;

use super::remove_all;
use crate::api::{SequenceSpan, TxnId, TxnMeta, TxnStatus};
use crate::engine::{Engine, MemoryEngine, Overlay};
use crate::mvcc::*;

/// A key of the model: versions with their mark, and the intent with all that its epoch wrote, by sequence.
#[derive(Clone, Default)]
struct ModelKey {
    versions: BTreeMap<Timestamp, (Option<u8>, bool)>,
    intent: Option<(TxnMeta, BTreeMap<u32, Option<u8>>)>,
}

type Model = BTreeMap<Vec<u8>, ModelKey>;

#[derive(Clone, Debug)]
enum Op {
    Commit { key: usize, value: Option<u8>, at: u64, relaxed: bool },
    Intend { key: usize, value: Option<u8>, txn: usize, at: u64 },
    Restart { txn: usize },
    RollBack { txn: usize, writes: u32 },
    Resolve { txn: usize, status: usize, by: u64 },
    Gc { at: u64 },
    Clear { start: usize, end: usize },
    Get { key: usize, at: u64, limit: u64, txn: Option<usize>, back: u32 },
    Scan { start: usize, end: usize, reverse: bool, at: u64, limit: u64, rows: u64, txn: Option<usize> },
    Refresh { start: usize, end: usize, from: u64, by: u64 },
}

const KEYS: [&[u8]; 6] = [b"", b"\0", b"\0\0", b"a", b"a\0", b"a\xff"];

fn op() -> impl Strategy<Value = Op> {
    let value = prop::option::weighted(0.7, any::<u8>());
    let key = 0..KEYS.len();
    let txn = prop::option::of(0usize..3);
    prop_oneof![
        4 => (key.clone(), value.clone(), 1u64..40, any::<bool>())
            .prop_map(|(key, value, at, relaxed)| Op::Commit { key, value, at, relaxed }),
        6 => (key.clone(), value, 0usize..3, 1u64..40).prop_map(|(key, value, txn, at)| Op::Intend { key, value, txn, at }),
        1 => (0usize..3).prop_map(|txn| Op::Restart { txn }),
        2 => (0usize..3, 1u32..4).prop_map(|(txn, writes)| Op::RollBack { txn, writes }),
        3 => (0usize..3, 0usize..3, 0u64..5).prop_map(|(txn, status, by)| Op::Resolve { txn, status, by }),
        1 => (1u64..40).prop_map(|at| Op::Gc { at }),
        1 => (key.clone(), key.clone()).prop_map(|(start, end)| Op::Clear { start, end }),
        4 => (key.clone(), 1u64..50, 1u64..50, txn.clone(), 0u32..4)
            .prop_map(|(key, at, limit, txn, back)| Op::Get { key, at, limit, txn, back }),
        4 => (key.clone(), key.clone(), any::<bool>(), 1u64..50, 1u64..50, 0u64..4, txn).prop_map(
            |(start, end, reverse, at, limit, rows, txn)| Op::Scan { start, end, reverse, at, limit, rows, txn }),
        2 => (key.clone(), key, 1u64..40, 0u64..10).prop_map(|(start, end, from, by)| Op::Refresh { start, end, from, by }),
    ]
}

fn timestamp(wall: u64) -> Timestamp {
    Timestamp::new(wall, 0)
}

fn bytes(value: Option<u8>) -> Option<Bytes> {
    value.map(|byte| Bytes::from(vec![byte]))
}

struct World {
    engine: MemoryEngine,
    stats: MvccStats,
    model: Model,
    txns: Vec<TxnMeta>,
    threshold: Timestamp,
}

impl World {
    fn new() -> Self {
        let txn = |low| TxnMeta { id: TxnId { high: 0, low }, relaxed: low == 1, ..TxnMeta::default() };
        let txns = (0..3).map(txn).collect();
        World {
            engine: MemoryEngine::new(),
            stats: MvccStats::default(),
            model: Model::new(),
            txns,
            threshold: Timestamp::MIN,
        }
    }

    fn change<T>(&mut self, change: impl FnOnce(&mut Overlay<'_>, &mut MvccStats) -> T) -> T {
        let reader = self.engine.snapshot();
        let mut overlay = Overlay::new(&*reader);
        let outcome = change(&mut overlay, &mut self.stats);
        self.engine.write(overlay.into_batch()).expect("writes");
        assert_eq!(self.stats, compute_stats(&*self.engine.snapshot(), b"", b"").expect("reads"), "stats_exact");
        outcome
    }

    fn commit(&mut self, key: &[u8], value: Option<u8>, at: Timestamp, relaxed: bool) {
        let mode = WriteMode::Committed { commit_timestamp: at, relaxed, txn: None };
        let outcome = self.change(|overlay, stats| write(overlay, stats, key, bytes(value), mode)).expect("reads");
        let model = self.model.entry(key.to_vec()).or_default();
        let newest = model.versions.keys().last().copied().unwrap_or_default();
        if let Some((txn, _)) = &model.intent {
            assert!(matches!(outcome, WriteOutcome::Blocked(found) if found.txn.id == txn.id));
        } else if newest >= at {
            assert_eq!(outcome, WriteOutcome::TooOld { newest });
        } else {
            assert_eq!(outcome, WriteOutcome::Written { write_timestamp: at, newest });
            model.versions.insert(at, (value, relaxed));
        }
    }

    fn intend(&mut self, key: &[u8], value: Option<u8>, txn: usize, at: Timestamp) {
        self.txns[txn].sequence += 1;
        self.txns[txn].write_timestamp = at.max(self.txns[txn].write_timestamp);
        let txn = self.txns[txn].clone();
        let mode = WriteMode::Intent { txn: &txn, sequence: txn.sequence };
        let outcome = self.change(|overlay, stats| write(overlay, stats, key, bytes(value), mode)).expect("reads");
        let model = self.model.entry(key.to_vec()).or_default();
        let newest = model.versions.keys().last().copied().unwrap_or_default();
        let (before, mut written) = match model.intent.take() {
            Some((holder, written)) if holder.id != txn.id => {
                assert!(matches!(outcome, WriteOutcome::Blocked(found) if found.txn.id == holder.id));
                model.intent = Some((holder, written));
                return;
            }
            Some((own, written)) if own.epoch == txn.epoch => (own.write_timestamp, written),
            Some((own, _)) => (own.write_timestamp, BTreeMap::new()),
            None => (Timestamp::MIN, BTreeMap::new()),
        };
        let above = if newest.is_min() { newest } else { newest.next() };
        let write_timestamp = txn.write_timestamp.max(before).max(above);
        assert_eq!(outcome, WriteOutcome::Written { write_timestamp, newest });
        written.insert(txn.sequence, value);
        model.intent = Some((TxnMeta { write_timestamp, ..txn }, written));
    }

    /// The last writes of a transaction do not count any more.
    fn roll_back(&mut self, txn: usize, writes: u32) {
        let txn = &mut self.txns[txn];
        let above = txn.sequence.saturating_sub(writes);
        txn.ignored.push(SequenceSpan { above, through: txn.sequence });
        for key in self.model.values_mut() {
            if let Some((own, written)) = &mut key.intent
                && own.id == txn.id
                && own.epoch == txn.epoch
            {
                written.retain(|sequence, _| *sequence <= above);
            }
        }
    }

    fn resolve(&mut self, txn: usize, status: usize, by: u64) {
        let txn = &self.txns[txn];
        let status = [TxnStatus::Pending, TxnStatus::Committed, TxnStatus::Aborted][status];
        let stands = |model: &Model| {
            model
                .values()
                .filter_map(|key| key.intent.as_ref())
                .filter(|(own, _)| own.id == txn.id)
                .map(|(own, _)| own.write_timestamp)
                .max()
        };
        let timestamp = stands(&self.model).unwrap_or_default().plus(std::time::Duration::from_nanos(by));
        let resolution = Resolution { txn: txn.id, epoch: txn.epoch, status, timestamp, ignored: txn.ignored.clone() };
        let epoch = txn.epoch;
        let mut resolved = 0;
        for key in self.model.values_mut() {
            let Some((mut own, written)) = key.intent.take_if(|(own, _)| own.id == resolution.txn) else { continue };
            resolved += 1;
            if status == TxnStatus::Committed && own.epoch == epoch {
                if let Some(value) = written.values().last() {
                    key.versions.insert(timestamp, (*value, own.relaxed));
                }
            } else if status == TxnStatus::Pending && own.epoch == epoch && !written.is_empty() {
                own.write_timestamp = timestamp;
                key.intent = Some((own, written));
            }
        }
        let outcome = self
            .change(|overlay, stats| resolve_span(overlay, stats, b"", b"", &resolution, 0, usize::MAX))
            .expect("resolves");
        assert_eq!(outcome, ResolveOutcome { resolved, resume: None });
    }

    fn gc(&mut self, threshold: Timestamp) {
        self.threshold = self.threshold.max(threshold);
        // The model keeps all versions but those that a collected tombstone was the newest of, whose loss shows.
        for key in self.model.values_mut() {
            if let Some((ts, (None, _))) = key.versions.range(..=threshold).last()
                && *ts < threshold
            {
                key.versions = key.versions.split_off(&threshold);
            }
        }
        let mut rest = Some(Bytes::new());
        while let Some(start) = rest {
            let limits = GarbageLimits { max_versions: 2, max_entries: 5 };
            let garbage = find_garbage(&*self.engine.snapshot(), &start, b"", threshold, limits).expect("reads");
            self.change(|overlay, stats| remove_all(overlay, stats, &garbage)).expect("reads");
            rest = garbage.resume;
        }
    }

    /// What a read of one key comes to: value, observed, blocked, uncertain.
    fn model_get(&self, key: &[u8], at: &ReadAt<'_>) -> (Option<u8>, Timestamp, bool, Option<Timestamp>) {
        let nothing = ModelKey::default();
        let model = self.model.get(key).unwrap_or(&nothing);
        let within = |ts: Timestamp| ts > at.read_timestamp && ts <= at.uncertainty_limit;
        let mut uncertain = None;
        let mut blocked = false;
        if let Some((holder, written)) = &model.intent {
            if let Some(own) = at.txn.filter(|txn| txn.id == holder.id) {
                let visible = written.range(..=own.sequence).last().filter(|_| own.epoch == holder.epoch);
                if let Some((_, value)) = visible {
                    return (*value, Timestamp::MIN, false, None);
                }
            } else if holder.write_timestamp <= at.read_timestamp {
                blocked = true;
            } else if holder.relaxed && within(holder.write_timestamp) {
                uncertain = Some(holder.write_timestamp);
            }
        }
        let marked =
            model.versions.iter().filter(|(ts, (_, relaxed))| *relaxed && within(**ts)).map(|(ts, _)| *ts).max();
        let seen = model.versions.range(..=at.read_timestamp).last();
        let (observed, value) = seen.map_or((Timestamp::MIN, None), |(ts, (value, _))| (*ts, *value));
        (value, observed, blocked, uncertain.max(marked))
    }

    fn get(&self, key: &[u8], at: &ReadAt<'_>) {
        let found = get(&*self.engine.snapshot(), key, at).expect("reads");
        let (value, observed, blocked, uncertain) = self.model_get(key, at);
        assert_eq!((found.blocked.is_some(), found.uncertain), (blocked, uncertain));
        if !blocked {
            assert_eq!(found.value, bytes(value));
            assert_eq!(found.observed, observed);
        }
    }

    fn scan(&self, start: &[u8], end: &[u8], reverse: bool, at: &ReadAt<'_>, max_rows: u64) {
        let mut expected = Vec::new();
        let mut expected_blocked = Vec::new();
        for key in self.model.keys().filter(|key| &key[..] >= start && &key[..] < end) {
            match self.model_get(key, at) {
                (_, _, true, _) => expected_blocked.push(key.clone()),
                (Some(value), ..) => expected.push((key.clone(), value)),
                _ => {}
            }
        }
        if reverse {
            expected.reverse();
            expected_blocked.reverse();
        }
        let (mut rows, mut blocked) = (Vec::new(), Vec::new());
        let mut span = Some((Bytes::copy_from_slice(start), Bytes::copy_from_slice(end)));
        let mut pages = 0;
        while let Some((start, end)) = span {
            if start >= end {
                break;
            }
            let limits = ScanLimits { max_rows, max_bytes: 0 };
            let page = scan(&*self.engine.snapshot(), &start, &end, reverse, at, limits).expect("reads");
            assert!(max_rows == 0 || (page.rows.len() + page.blocked.len()) as u64 <= max_rows);
            rows.extend(page.rows.iter().map(|row| (row.key.to_vec(), row.value[0])));
            blocked.extend(page.blocked.iter().map(|found| found.key.to_vec()));
            span = page.resume.map(|rest| (rest.start, rest.end));
            pages += 1;
            assert!(pages < 20, "pages come to an end");
        }
        assert_eq!((rows, blocked), (expected, expected_blocked));
    }

    fn refresh(&self, start: &[u8], end: &[u8], from: Timestamp, to: Timestamp) {
        let within = || self.model.iter().filter(|(key, _)| &key[..] >= start && &key[..] < end).map(|(_, key)| key);
        let changed = within().any(|key| key.versions.keys().any(|ts| *ts > from && *ts <= to));
        let blocked = within().any(|key| key.intent.as_ref().is_some_and(|(txn, _)| txn.write_timestamp <= to));
        let outcome = refresh(&*self.engine.snapshot(), start, end, from, to, None).expect("reads");
        assert_eq!(matches!(outcome, RefreshOutcome::Changed { .. }), changed);
        assert_eq!(matches!(outcome, RefreshOutcome::Blocked(_)), blocked && !changed);
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Commit { key, value, at, relaxed } => {
                self.commit(KEYS[key], value, self.threshold.max(timestamp(at)), relaxed)
            }
            Op::Intend { key, value, txn, at } => self.intend(KEYS[key], value, txn, timestamp(at)),
            Op::Restart { txn } => {
                self.txns[txn].epoch += 1;
                self.txns[txn].ignored.clear();
            }
            Op::RollBack { txn, writes } => self.roll_back(txn, writes),
            Op::Resolve { txn, status, by } => self.resolve(txn, status, by),
            Op::Gc { at } => self.gc(timestamp(at)),
            Op::Clear { start, end } => {
                let (start, end) = (KEYS[start], KEYS[end]);
                if start < end {
                    self.change(|overlay, stats| clear_span(overlay, stats, start, end, 0)).expect("reads");
                    self.model.retain(|key, _| &key[..] < start || &key[..] >= end);
                }
            }
            Op::Get { key, at, limit, txn, back } => {
                let txn = txn.map(|txn| self.txns[txn].clone());
                let txn = txn.map(|txn| TxnMeta { sequence: txn.sequence.saturating_sub(back), ..txn });
                let read_timestamp = self.threshold.max(timestamp(at));
                self.get(KEYS[key], &ReadAt { read_timestamp, uncertainty_limit: timestamp(limit), txn: txn.as_ref() });
            }
            Op::Scan { start, end, reverse, at, limit, rows, txn } => {
                let read_timestamp = self.threshold.max(timestamp(at));
                let at =
                    ReadAt { read_timestamp, uncertainty_limit: timestamp(limit), txn: txn.map(|txn| &self.txns[txn]) };
                if KEYS[start] < KEYS[end] {
                    self.scan(KEYS[start], KEYS[end], reverse, &at, rows);
                }
            }
            Op::Refresh { start, end, from, by } => {
                let from = self.threshold.max(timestamp(from));
                if KEYS[start] < KEYS[end] {
                    self.refresh(KEYS[start], KEYS[end], from, from.plus(std::time::Duration::from_nanos(by)));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn histories_read_as_the_model_says(ops in prop::collection::vec(op(), 1..60)) {
        let mut world = World::new();
        for op in ops {
            world.run(op);
        }
    }
}
