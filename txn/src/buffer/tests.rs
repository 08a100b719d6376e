//! The write buffer against a map that is written at once.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type Model = BTreeMap<Bytes, Bytes>;

#[derive(Clone, Debug)]
enum Step {
    Write(u8, Option<u8>),
    Mark,
    Rewind,
    Savepoint,
    RollBackTo(usize),
    Release(usize),
    Spill,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (0u8..8, proptest::option::of(any::<u8>())).prop_map(|(key, value)| Step::Write(key, value)),
        2 => Just(Step::Mark),
        1 => Just(Step::Rewind),
        2 => Just(Step::Savepoint),
        1 => (0usize..4).prop_map(Step::RollBackTo),
        1 => (0usize..4).prop_map(Step::Release),
        1 => Just(Step::Spill),
    ]
}

fn key(number: u8) -> Bytes {
    Bytes::from(vec![b'a' + number])
}

fn rows(model: &Model, reverse: bool) -> Vec<KeyValue> {
    let mut rows: Vec<KeyValue> =
        model.iter().map(|(key, value)| KeyValue { key: key.clone(), value: value.clone() }).collect();
    if reverse {
        rows.reverse();
    }
    rows
}

/// What the ranges know: what was committed, and of each key every write that was spilled.
struct Ranges {
    stored: Model,
    intents: BTreeMap<Bytes, BTreeMap<u32, Option<Bytes>>>,
    ignored: Vec<(u32, u32)>,
}

impl Ranges {
    fn spill(&mut self, buffer: &WriteBuffer) {
        for request in buffer.to_spill(100).into_iter().flatten() {
            let (key, sequence, value) = match request.kind.expect("a write") {
                RequestKind::Put(put) => (put.key, put.sequence, Some(put.value)),
                RequestKind::Delete(delete) => (delete.key, delete.sequence, None),
                other => panic!("not a write: {other:?}"),
            };
            self.intents.entry(key).or_default().insert(sequence, value);
        }
    }

    /// As a read of the transaction sees them.
    fn read(&self, through: u32) -> Model {
        let mut seen = self.stored.clone();
        for (key, writes) in &self.intents {
            let counts = |sequence: u32| !self.ignored.iter().any(|(above, to)| *above < sequence && sequence <= *to);
            let newest = writes.range(..=through).rev().find(|(sequence, _)| counts(**sequence));
            match newest {
                Some((_, Some(value))) => seen.insert(key.clone(), value.clone()),
                Some((_, None)) => seen.remove(key),
                None => None,
            };
        }
        seen
    }
}

proptest! {
    #[test]
    fn reads_as_if_written_at_once(
        stored in proptest::collection::btree_map(0u8..8, any::<u8>(), 0..8),
        steps in proptest::collection::vec(any_step(), 0..40),
        start in 0u8..8, end in 0u8..9, reverse in any::<bool>(),
    ) {
        let stored: Model = stored.into_iter().map(|(k, v)| (key(k), Bytes::from(vec![v]))).collect();
        let (mut now, mut at_mark) = (stored.clone(), stored.clone());
        let mut savepoints: Vec<(u32, Model)> = Vec::new();
        let mut ranges = Ranges { stored, intents: BTreeMap::new(), ignored: Vec::new() };
        let mut buffer = WriteBuffer::default();
        let (mut sequence, mut marked) = (0, 0);
        for step in steps {
            match step {
                Step::Write(number, value) => {
                    sequence += 1;
                    let value = value.map(|value| Bytes::from(vec![value]));
                    buffer.write(key(number), value.clone(), sequence);
                    match value {
                        Some(value) => now.insert(key(number), value),
                        None => now.remove(&key(number)),
                    };
                    continue;
                }
                Step::Spill => {
                    ranges.spill(&buffer);
                    buffer.forget_through(sequence);
                    prop_assert_eq!((buffer.is_empty(), buffer.bytes()), (true, 0));
                    continue;
                }
                Step::Rewind => {
                    buffer.rewind();
                    ranges.ignored.push((marked, sequence));
                    now = at_mark.clone();
                    continue;
                }
                Step::Mark => buffer.mark(),
                Step::Savepoint => {
                    prop_assert_eq!(buffer.set_savepoint(), savepoints.len());
                    savepoints.push((sequence, now.clone()));
                }
                Step::RollBackTo(at) if at < savepoints.len() => {
                    buffer.roll_back_to(at);
                    savepoints.truncate(at + 1);
                    now = savepoints[at].1.clone();
                    ranges.ignored.push((savepoints[at].0, sequence));
                }
                Step::Release(at) if at < savepoints.len() => {
                    buffer.release(at);
                    savepoints.truncate(at);
                }
                Step::RollBackTo(_) | Step::Release(_) => continue,
            }
            (marked, at_mark) = (sequence, now.clone());
        }
        let (low, high) = (key(start), key(end));
        let cut = |model: &Model| -> Model {
            model.iter().filter(|(key, _)| **key >= low && **key < high).map(|(k, v)| (k.clone(), v.clone())).collect()
        };
        let base = rows(&cut(&ranges.read(sequence)), reverse);
        let seen = buffer.overlay(base, (&low, &high), reverse, false);
        prop_assert_eq!(seen, rows(&cut(&now), reverse));
        let base = rows(&cut(&ranges.read(marked)), reverse);
        let before = buffer.overlay(base, (&low, &high), reverse, true);
        prop_assert_eq!(before, rows(&cut(&at_mark), reverse));
        for number in 0u8..8 {
            let merged = buffer.get(&key(number)).unwrap_or_else(|| ranges.read(sequence).get(&key(number)).cloned());
            prop_assert_eq!(merged, now.get(&key(number)).cloned());
        }
        let bytes: usize = buffer.entries.iter().map(|(key, write)| cost(key, write)).sum();
        let kept: usize = buffer.savepoints.iter().map(layer_cost).sum();
        prop_assert_eq!(buffer.bytes(), bytes + kept);
        let batched: usize = buffer.to_batches(300).iter().map(Vec::len).sum();
        prop_assert_eq!(batched, buffer.to_requests().len());
    }
}

#[test]
fn what_became_an_intent_is_forgotten_and_what_came_later_is_not() {
    let mut buffer = WriteBuffer::default();
    buffer.write(key(0), None, 1);
    buffer.write(key(1), None, 2);
    buffer.write(key(1), Some(Bytes::new()), 3);
    buffer.forget_through(2);
    assert_eq!(buffer.keys().collect::<Vec<_>>(), [&key(1)]);
    buffer.forget_through(3);
    assert!(buffer.is_empty());
    assert_eq!(buffer.bytes(), 0);
}
