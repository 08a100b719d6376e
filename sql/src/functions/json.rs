//! Functions and operators of json and jsonb.

use serde_json::Value;

use super::registry::{Call, Registry};
use crate::SqlError;
use crate::types::{Datum, PgType, json, to_text};

use PgType::{Bool, Int4, Json, Jsonb, Text, TextArray};

fn text(datum: &Datum) -> &str {
    datum.as_str().unwrap_or_default()
}

pub(super) fn parse(datum: &Datum) -> Result<Value, SqlError> {
    json::parse(text(datum))
}

/// A value as the call's result type: jsonb canonical, json as it stands.
pub(super) fn give(call: &Call<'_>, value: &Value) -> Result<Datum, SqlError> {
    match call.result {
        Json => Ok(Datum::Json(value.to_string())),
        Text => Ok(as_text(value)?.map_or(Datum::Null, Datum::Text)),
        _ => json::to_canonical(value).map(Datum::Jsonb),
    }
}

/// What `->>` gives: strings bare, null as NULL.
pub(super) fn as_text(value: &Value) -> Result<Option<String>, SqlError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        other => json::to_canonical(other).map(Some),
    }
}

/// The member or element that a path's step names.
fn step<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(members) => members.get(key),
        Value::Array(items) => element(items, key.parse().ok()?),
        _ => None,
    }
}

fn element(items: &[Value], index: i64) -> Option<&Value> {
    let index = if index < 0 { items.len() as i64 + index } else { index };
    items.get(usize::try_from(index).ok()?)
}

fn path(datums: &[Datum]) -> Vec<String> {
    datums.iter().filter_map(|datum| datum.as_str().map(str::to_owned)).collect()
}

fn items(datum: &Datum) -> &[Datum] {
    match datum {
        Datum::Array(array) => &array.values,
        _ => &[],
    }
}

fn dig<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| step(value, key))
}

pub(super) fn register(r: &mut Registry) {
    for ty in [Json, Jsonb] {
        access(r, ty);
    }
    containment(r);
    changes(r);
    describing(r);
}

fn access(r: &mut Registry, ty: PgType) {
    for (name, result) in [("->", ty), ("->>", Text)] {
        r.strict(name, &[ty, Text], result, |call, a| match parse(&a[0])? {
            Value::Object(members) => members.get(text(&a[1])).map_or(Ok(Datum::Null), |value| give(call, value)),
            _ => Ok(Datum::Null),
        });
        r.strict(name, &[ty, Int4], result, |call, a| match parse(&a[0])? {
            Value::Array(items) => {
                element(&items, a[1].as_i64().unwrap_or(0)).map_or(Ok(Datum::Null), |value| give(call, value))
            }
            _ => Ok(Datum::Null),
        });
    }
    for (name, result) in [("#>", ty), ("#>>", Text)] {
        r.strict(name, &[ty, TextArray], result, |call, a| {
            dig(&parse(&a[0])?, &path(items(&a[1]))).map_or(Ok(Datum::Null), |value| give(call, value))
        });
    }
    let by_path = |call: &Call<'_>, a: &[Datum]| {
        dig(&parse(&a[0])?, &path(&a[1..])).map_or(Ok(Datum::Null), |value| give(call, value))
    };
    let (plain, texts) = match ty {
        Json => ("json_extract_path", "json_extract_path_text"),
        _ => ("jsonb_extract_path", "jsonb_extract_path_text"),
    };
    r.strict(plain, &[ty, Text], ty, by_path).variadic();
    r.strict(texts, &[ty, Text], Text, by_path).variadic();
    let (kind, length) = match ty {
        Json => ("json_typeof", "json_array_length"),
        _ => ("jsonb_typeof", "jsonb_array_length"),
    };
    r.strict(kind, &[ty], Text, |_, a| Ok(Datum::from(kind_of(&parse(&a[0])?))));
    r.strict(length, &[ty], Int4, |_, a| match parse(&a[0])? {
        Value::Array(items) => Ok(Datum::Int4(items.len() as i32)),
        Value::Object(_) => Err(SqlError::new("22023", "cannot get array length of a non-array")),
        _ => Err(SqlError::new("22023", "cannot get array length of a scalar")),
    });
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn same(left: &Value, right: &Value) -> bool {
    match (json::to_canonical(left), json::to_canonical(right)) {
        (Ok(a), Ok(b)) => crate::types::compare(&Datum::Jsonb(a), &Datum::Jsonb(b)).is_eq(),
        _ => false,
    }
}

/// Whether `outer @> inner`.
fn contains(outer: &Value, inner: &Value, top: bool) -> bool {
    match (outer, inner) {
        (Value::Object(outer), Value::Object(inner)) => {
            inner.iter().all(|(key, value)| outer.get(key).is_some_and(|found| contains(found, value, false)))
        }
        (Value::Array(outer), Value::Array(inner)) => {
            inner.iter().all(|value| outer.iter().any(|found| contains(found, value, false)))
        }
        // An array may contain a bare value, at the top only.
        (Value::Array(outer), value) if top && !value.is_object() => outer.iter().any(|found| same(found, value)),
        (a, b) => same(a, b),
    }
}

fn has_key(value: &Value, key: &str) -> bool {
    match value {
        Value::Object(members) => members.contains_key(key),
        Value::Array(items) => items.iter().any(|item| item.as_str() == Some(key)),
        Value::String(text) => text == key,
        _ => false,
    }
}

fn containment(r: &mut Registry) {
    r.strict("@>", &[Jsonb, Jsonb], Bool, |_, a| Ok(Datum::Bool(contains(&parse(&a[0])?, &parse(&a[1])?, true))));
    r.strict("<@", &[Jsonb, Jsonb], Bool, |_, a| Ok(Datum::Bool(contains(&parse(&a[1])?, &parse(&a[0])?, true))));
    r.strict("?", &[Jsonb, Text], Bool, |_, a| Ok(Datum::Bool(has_key(&parse(&a[0])?, text(&a[1])))));
    r.strict("?|", &[Jsonb, TextArray], Bool, |_, a| {
        let value = parse(&a[0])?;
        Ok(Datum::Bool(path(items(&a[1])).iter().any(|key| has_key(&value, key))))
    });
    r.strict("?&", &[Jsonb, TextArray], Bool, |_, a| {
        let value = parse(&a[0])?;
        Ok(Datum::Bool(path(items(&a[1])).iter().all(|key| has_key(&value, key))))
    });
}

fn changes(r: &mut Registry) {
    r.strict("||", &[Jsonb, Jsonb], Jsonb, |call, a| {
        let joined = match (parse(&a[0])?, parse(&a[1])?) {
            (Value::Object(mut left), Value::Object(right)) => {
                left.extend(right);
                Value::Object(left)
            }
            (left, right) => {
                let list = |value| if let Value::Array(items) = value { items } else { vec![value] };
                Value::Array(list(left).into_iter().chain(list(right)).collect())
            }
        };
        give(call, &joined)
    });
    r.strict("-", &[Jsonb, Text], Jsonb, |call, a| {
        let mut value = parse(&a[0])?;
        remove(&mut value, text(&a[1]))?;
        give(call, &value)
    });
    r.strict("-", &[Jsonb, TextArray], Jsonb, |call, a| {
        let mut value = parse(&a[0])?;
        path(items(&a[1])).iter().try_for_each(|key| remove(&mut value, key))?;
        give(call, &value)
    });
    r.strict("-", &[Jsonb, Int4], Jsonb, |call, a| {
        let Value::Array(mut items) = parse(&a[0])? else {
            return Err(SqlError::new("22023", "cannot delete from object using integer index"));
        };
        let index = a[1].as_i64().unwrap_or(0);
        let index = if index < 0 { items.len() as i64 + index } else { index };
        if let Some(index) = usize::try_from(index).ok().filter(|index| *index < items.len()) {
            items.remove(index);
        }
        give(call, &Value::Array(items))
    });
    r.strict("#-", &[Jsonb, TextArray], Jsonb, |call, a| {
        let mut value = parse(&a[0])?;
        cut(&mut value, &path(items(&a[1])))?;
        give(call, &value)
    });
    r.strict("jsonb_set", &[Jsonb, TextArray, Jsonb], Jsonb, |call, a| put(call, a, true));
    r.strict("jsonb_set", &[Jsonb, TextArray, Jsonb, Bool], Jsonb, |call, a| put(call, a, a[3] == Datum::Bool(true)));
    r.strict("jsonb_strip_nulls", &[Jsonb], Jsonb, |call, a| {
        let mut value = parse(&a[0])?;
        strip_nulls(&mut value);
        give(call, &value)
    });
}

fn remove(value: &mut Value, key: &str) -> Result<(), SqlError> {
    match value {
        Value::Object(members) => drop(members.shift_remove(key)),
        Value::Array(items) => items.retain(|item| item.as_str() != Some(key)),
        _ => return Err(SqlError::new("22023", "cannot delete from scalar")),
    }
    Ok(())
}

/// Removes what a path leads to, if it leads anywhere.
fn cut(value: &mut Value, path: &[String]) -> Result<(), SqlError> {
    let Some((key, rest)) = path.split_first() else { return Ok(()) };
    match value {
        Value::Object(members) if rest.is_empty() => drop(members.shift_remove(key)),
        Value::Object(members) => members.get_mut(key).map_or(Ok(()), |member| cut(member, rest))?,
        Value::Array(items) => {
            let index: i64 = key.parse().map_err(|_| {
                SqlError::new("22P02", format!("path element at position 1 is not an integer: \"{key}\""))
            })?;
            let index = if index < 0 { items.len() as i64 + index } else { index };
            match usize::try_from(index).ok().filter(|index| *index < items.len()) {
                Some(index) if rest.is_empty() => drop(items.remove(index)),
                Some(index) => cut(&mut items[index], rest)?,
                None => {}
            }
        }
        _ => return Err(SqlError::new("22023", "cannot delete path in scalar")),
    }
    Ok(())
}

fn put(call: &Call<'_>, a: &[Datum], create: bool) -> Result<Datum, SqlError> {
    let (mut value, new) = (parse(&a[0])?, parse(&a[2])?);
    let keys = path(items(&a[1]));
    let Some((last, front)) = keys.split_last() else { return Ok(a[0].clone()) };
    let mut at = Some(&mut value);
    for key in front {
        at = at.and_then(|value| match value {
            Value::Object(members) => members.get_mut(key),
            Value::Array(items) => {
                let index: i64 = key.parse().ok()?;
                let index = if index < 0 { items.len() as i64 + index } else { index };
                items.get_mut(usize::try_from(index).ok()?)
            }
            _ => None,
        });
    }
    match at {
        Some(Value::Object(members)) if create || members.contains_key(last) => {
            members.insert(last.clone(), new);
        }
        Some(Value::Array(items)) => {
            let index: i64 = last.parse().map_err(|_| {
                SqlError::new("22P02", format!("path element at position {} is not an integer: \"{last}\"", keys.len()))
            })?;
            let place = if index < 0 { items.len() as i64 + index } else { index };
            match usize::try_from(place) {
                Ok(place) if place < items.len() => items[place] = new,
                Ok(_) if create => items.push(new),
                Err(_) if create => items.insert(0, new),
                _ => {}
            }
        }
        _ => {}
    }
    give(call, &value)
}

fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// Any value as JSON.
pub(super) fn to_json(datum: &Datum, ty: PgType, call: &Call<'_>) -> Result<Value, SqlError> {
    Ok(match datum {
        Datum::Null => Value::Null,
        Datum::Bool(value) => Value::Bool(*value),
        Datum::Json(text) | Datum::Jsonb(text) => json::parse(text)?,
        Datum::Array(array) => {
            let values = array.values.iter().map(|value| to_json(value, array.element, call));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_) | Datum::Numeric(_) | Datum::Float4(_) | Datum::Float8(_) => {
            let text = to_text(datum, ty, -1, call.settings());
            // NaN and the infinities are strings in JSON.
            json::parse(&text).unwrap_or(Value::String(text))
        }
        Datum::Timestamp(_) | Datum::TimestampTz(_) => {
            // ISO 8601, with a T and minutes in the offset.
            let text = to_text(datum, ty, -1, call.settings()).replacen(' ', "T", 1);
            let short =
                matches!(datum, Datum::TimestampTz(_)) && text.len() > 3 && text.as_bytes()[text.len() - 3] != b':';
            Value::String(if short { text + ":00" } else { text })
        }
        other => Value::String(to_text(other, ty, -1, call.settings())),
    })
}

fn describing(r: &mut Registry) {
    r.strict("jsonb_pretty", &[Jsonb], Text, |_, a| {
        let mut out = String::new();
        pretty(&json::parse(&json::canonical(text(&a[0]))?)?, 0, &mut out)?;
        Ok(Datum::Text(out))
    });
}

fn pretty(value: &Value, depth: usize, out: &mut String) -> Result<(), SqlError> {
    let indent = |out: &mut String, depth: usize| out.push_str(&"    ".repeat(depth));
    match value {
        Value::Array(items) => {
            out.push_str("[\n");
            for (index, item) in items.iter().enumerate() {
                indent(out, depth + 1);
                pretty(item, depth + 1, out)?;
                out.push_str(if index + 1 < items.len() { ",\n" } else { "\n" });
            }
            indent(out, depth);
            out.push(']');
        }
        Value::Object(members) => {
            out.push_str("{\n");
            for (index, (key, member)) in members.iter().enumerate() {
                indent(out, depth + 1);
                json::write_string(key, out);
                out.push_str(": ");
                pretty(member, depth + 1, out)?;
                out.push_str(if index + 1 < members.len() { ",\n" } else { "\n" });
            }
            indent(out, depth);
            out.push('}');
        }
        other => out.push_str(&json::to_canonical(other)?),
    }
    Ok(())
}
