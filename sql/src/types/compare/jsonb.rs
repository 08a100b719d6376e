//! The order of jsonb values: Object > Array > Boolean > Number > String > Null; then by size, then by content.
//!
//! An empty top-level array sorts below everything, an oddity of PostgreSQL's that is kept.

use std::cmp::Ordering;

use serde_json::Value;

use crate::types::Numeric;

/// Compares two canonical texts.
pub fn compare(left: &str, right: &str) -> Ordering {
    if left == right {
        return Ordering::Equal;
    }
    match (serde_json::from_str(left), serde_json::from_str(right)) {
        (Ok(a), Ok(b)) => compare_top(&a, &b),
        _ => left.cmp(right),
    }
}

fn compare_top(left: &Value, right: &Value) -> Ordering {
    let empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    match (empty(left), empty(right)) {
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        _ => compare_values(left, right),
    }
}

/// Compares two parsed values.
pub fn compare_values(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => {
            let number = |n: &serde_json::Number| n.to_string().parse().unwrap_or(Numeric::NaN);
            number(a).cmp(&number(b))
        }
        (Value::String(a), Value::String(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Value::Array(a), Value::Array(b)) => a.len().cmp(&b.len()).then_with(|| {
            a.iter().zip(b).map(|(x, y)| compare_values(x, y)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        }),
        (Value::Object(a), Value::Object(b)) => a.len().cmp(&b.len()).then_with(|| {
            let keys = |key: &String, other: &String| key.len().cmp(&other.len()).then_with(|| key.cmp(other));
            a.iter()
                .zip(b)
                .map(|((k, x), (l, y))| keys(k, l).then_with(|| compare_values(x, y)))
                .find(|order| order.is_ne())
                .unwrap_or(Ordering::Equal)
        }),
        _ => rank(left).cmp(&rank(right)),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::String(_) => 1,
        Value::Number(_) => 2,
        Value::Bool(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}
