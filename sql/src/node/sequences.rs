//! Sequences: values taken from the counters in the keyspace a handful at a time, outside any transaction.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::catalog::{SequenceDescriptor, sequence_key};
use crate::error::{SqlError, code};
use crate::scalar::Sequences;

/// The values a node has taken and not yet given.
pub(crate) struct NodeSequences {
    database: txn::Database,
    cache: i64,
    taken: tokio::sync::Mutex<BTreeMap<u32, VecDeque<i64>>>,
}

impl NodeSequences {
    /// None taken.
    pub fn new(database: txn::Database, cache: i64) -> Self {
        NodeSequences { database, cache, taken: tokio::sync::Mutex::default() }
    }

    /// The next `count` values.
    ///
    /// # Errors
    /// 2200H when the sequence has come to its end.
    pub async fn take(&self, sequence: &SequenceDescriptor, count: usize) -> Result<Vec<i64>, SqlError> {
        let mut taken = self.taken.lock().await;
        let ready = taken.entry(sequence.id).or_default();
        let mut values = Vec::with_capacity(count);
        while values.len() < count {
            if let Some(value) = ready.pop_front() {
                values.push(value);
                continue;
            }
            let missing = i64::try_from(count - values.len()).unwrap_or(i64::MAX);
            let step = missing.max(if sequence.cache > 0 { sequence.cache } else { self.cache });
            let after = self.database.increment(sequence_key(sequence.id), step).await?;
            for ordinal in after - step..after {
                match value_at(sequence, ordinal) {
                    Some(value) => ready.push_back(value),
                    None => break,
                }
            }
            if ready.is_empty() {
                let (which, bound) =
                    if sequence.increment > 0 { ("maximum", sequence.max) } else { ("minimum", sequence.min) };
                return Err(SqlError::new(
                    code::SEQUENCE_LIMIT_EXCEEDED,
                    format!("nextval: reached {which} value of sequence \"{}\" ({bound})", sequence.name),
                ));
            }
        }
        Ok(values)
    }

    /// Makes `value` the next one, or the one given last. Other nodes still give what they have taken before.
    ///
    /// # Errors
    /// 22003 for a value outside the sequence's bounds; 0A000 for one that its step does not reach.
    pub async fn set(&self, sequence: &SequenceDescriptor, value: i64, given: bool) -> Result<(), SqlError> {
        let mut taken = self.taken.lock().await;
        taken.remove(&sequence.id);
        let step = i128::from(sequence.increment);
        let distance = i128::from(value) - i128::from(sequence.start) + if given { step } else { 0 };
        if distance % step != 0 {
            return Err(SqlError::unsupported("setting a sequence to a value between its steps"));
        }
        let wanted = i64::try_from(distance / step)
            .map_err(|_| SqlError::new(code::NUMERIC_VALUE_OUT_OF_RANGE, "setval: value is out of bounds"))?;
        let current = self.database.increment(sequence_key(sequence.id), 0).await?;
        self.database.increment(sequence_key(sequence.id), wanted - current).await?;
        Ok(())
    }
}

/// The node's sequences, as one of its sessions uses them.
#[derive(Clone)]
pub(crate) struct SessionSequences {
    pub node: Arc<NodeSequences>,
    pub session: Arc<Sequences>,
}

impl SessionSequences {
    /// Makes the next `count` values ready to be drawn.
    ///
    /// # Errors
    /// As [`NodeSequences::take`].
    pub async fn prepare(&self, sequence: &SequenceDescriptor, count: usize) -> Result<(), SqlError> {
        let missing = count.saturating_sub(self.session.ready(sequence.id));
        if missing > 0 {
            self.session.supply(sequence.id, self.node.take(sequence, missing).await?);
        }
        Ok(())
    }

    /// `setval`.
    ///
    /// # Errors
    /// 22003 for a value outside the sequence's bounds; those of [`NodeSequences::set`].
    pub async fn set(&self, sequence: &SequenceDescriptor, value: i64, given: bool) -> Result<(), SqlError> {
        if value < sequence.min || value > sequence.max {
            return Err(SqlError::new(
                code::NUMERIC_VALUE_OUT_OF_RANGE,
                format!(
                    "setval: value {value} is out of bounds for sequence \"{}\" ({}..{})",
                    sequence.name, sequence.min, sequence.max
                ),
            ));
        }
        self.session.forget(sequence.id);
        self.node.set(sequence, value, given).await?;
        if given {
            self.session.note(sequence.id, value);
        }
        Ok(())
    }
}

/// The value of that ordinal, from 0; none beyond the end of a sequence that does not cycle.
fn value_at(sequence: &SequenceDescriptor, ordinal: i64) -> Option<i64> {
    let step = i128::from(sequence.increment);
    let value = i128::from(sequence.start) + i128::from(ordinal) * step;
    let (min, max) = (i128::from(sequence.min), i128::from(sequence.max));
    if (min..=max).contains(&value) {
        return i64::try_from(value).ok();
    }
    if !sequence.cycle {
        return None;
    }
    // Every round after the first runs through all of [min, max].
    let round = (max - min) / step.abs() + 1;
    let (past, first) = if step > 0 { (value - max - 1, min) } else { (min - 1 - value, max) };
    let at = past.div_euclid(step.abs()).rem_euclid(round);
    i64::try_from(first + at * step).ok()
}
