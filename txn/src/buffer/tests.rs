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
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u8..12, proptest::option::of(any::<u8>())).prop_map(|(key, value)| Step::Write(key, value)),
        1 => Just(Step::Mark),
        1 => Just(Step::Rewind),
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

proptest! {
    #[test]
    fn reads_as_if_written_at_once(
        stored in proptest::collection::btree_map(0u8..12, any::<u8>(), 0..8),
        steps in proptest::collection::vec(any_step(), 0..40),
        start in 0u8..12, end in 0u8..12, reverse in any::<bool>(),
    ) {
        let stored: Model = stored.into_iter().map(|(k, v)| (key(k), Bytes::from(vec![v]))).collect();
        let (mut now, mut at_mark) = (stored.clone(), stored.clone());
        let mut buffer = WriteBuffer::default();
        for (sequence, step) in (1..).zip(steps) {
            match step {
                Step::Write(number, value) => {
                    let value = value.map(|value| Bytes::from(vec![value]));
                    buffer.write(key(number), value.clone(), sequence);
                    match value {
                        Some(value) => now.insert(key(number), value),
                        None => now.remove(&key(number)),
                    };
                }
                Step::Mark => {
                    buffer.mark();
                    at_mark = now.clone();
                }
                Step::Rewind => {
                    buffer.rewind();
                    now = at_mark.clone();
                }
            }
        }
        let (low, high) = (key(start), key(end));
        let cut = |model: &Model| -> Model {
            model.iter().filter(|(key, _)| **key >= low && **key < high).map(|(k, v)| (k.clone(), v.clone())).collect()
        };
        let base = rows(&cut(&stored), reverse);
        let seen = buffer.overlay(base.clone(), (&low, &high), reverse, false);
        prop_assert_eq!(seen, rows(&cut(&now), reverse));
        let before = buffer.overlay(base, (&low, &high), reverse, true);
        prop_assert_eq!(before, rows(&cut(&at_mark), reverse));
        for number in 0u8..12 {
            let merged = buffer.get(&key(number)).unwrap_or_else(|| stored.get(&key(number)).cloned());
            prop_assert_eq!(merged, now.get(&key(number)).cloned());
        }
        let bytes: usize = buffer.entries.iter().map(|(key, write)| cost(key, write)).sum();
        prop_assert_eq!(buffer.bytes(), bytes);
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
