//! JSON made of values, and taken apart into rows.

use serde_json::Value;

use super::json::{as_text, give, parse, to_json};
use super::registry::{Arg, Call, Registry, Ret};
use crate::types::{Datum, PgType, json};
use crate::{SqlError, interrupt};

use PgType::{Json, Jsonb, JsonbArray, Text, TextArray};

pub(super) fn register(r: &mut Registry) {
    r.polymorphic("to_jsonb", &[Arg::Any], Ret::Is(Jsonb), |call, a| give(call, &to_json(&a[0], call.types[0], call)?))
        .stable();
    r.polymorphic("to_json", &[Arg::Any], Ret::Is(Json), |call, a| {
        written(&a[0], call.types[0], call).map(Datum::Json)
    })
    .stable();
    r.polymorphic("jsonb_build_array", &[Arg::Any], Ret::Is(Jsonb), |call, a| {
        let values = a.iter().zip(call.types).map(|(value, ty)| to_json(value, *ty, call));
        give(call, &Value::Array(values.collect::<Result<_, _>>()?))
    })
    .variadic()
    .called_on_null()
    .stable();
    r.polymorphic("json_build_array", &[Arg::Any], Ret::Is(Json), |call, a| {
        let values = a.iter().zip(call.types).map(|(value, ty)| written(value, *ty, call));
        Ok(Datum::Json(format!("[{}]", values.collect::<Result<Vec<_>, _>>()?.join(", "))))
    })
    .variadic()
    .called_on_null()
    .stable();
    r.polymorphic("jsonb_build_object", &[Arg::Any], Ret::Is(Jsonb), |call, a| {
        let mut members = serde_json::Map::new();
        for place in keys(a)? {
            members.insert(call.text(a, place), to_json(&a[place + 1], call.types[place + 1], call)?);
        }
        give(call, &Value::Object(members))
    })
    .variadic()
    .called_on_null()
    .stable();
    r.polymorphic("json_build_object", &[Arg::Any], Ret::Is(Json), |call, a| {
        let mut members = Vec::new();
        for place in keys(a)? {
            let mut member = String::new();
            json::write_string(&call.text(a, place), &mut member);
            members.push(format!("{member} : {}", written(&a[place + 1], call.types[place + 1], call)?));
        }
        Ok(Datum::Json(format!("{{{}}}", members.join(", "))))
    })
    .variadic()
    .called_on_null()
    .stable();
    rows(r);
}

/// The places of the keys among the arguments.
fn keys(a: &[Datum]) -> Result<impl Iterator<Item = usize>, SqlError> {
    if !a.len().is_multiple_of(2) {
        return Err(SqlError::new("22023", "argument list must have even number of elements"));
    }
    match (0..a.len()).step_by(2).find(|place| a[*place].is_null()) {
        Some(place) => Err(SqlError::new("22023", format!("argument {} cannot be null", place + 1))),
        None => Ok((0..a.len()).step_by(2)),
    }
}

/// A value as json is written: json as it stands, all else without blanks.
fn written(datum: &Datum, ty: PgType, call: &Call<'_>) -> Result<String, SqlError> {
    match datum {
        Datum::Json(text) => Ok(text.clone()),
        Datum::Jsonb(text) => json::canonical(text),
        Datum::Array(array) => {
            let values = array.values.iter().map(|value| written(value, array.element, call));
            Ok(format!("[{}]", values.collect::<Result<Vec<_>, _>>()?.join(",")))
        }
        other => match to_json(other, ty, call)? {
            Value::String(text) => {
                let mut out = String::new();
                json::write_string(&text, &mut out);
                Ok(out)
            }
            // As the number is written, digits behind the point and all.
            Value::Number(_) => Ok(crate::types::to_text(other, ty, -1, call.settings())),
            value => Ok(value.to_string()),
        },
    }
}

/// Functions that give rows, as arrays of them.
fn rows(r: &mut Registry) {
    r.strict("jsonb_object_keys", &[Jsonb], TextArray, |_, a| keys_of("jsonb_object_keys", &a[0]));
    r.strict("json_object_keys", &[Json], TextArray, |_, a| keys_of("json_object_keys", &a[0]));
    r.strict("jsonb_array_elements", &[Jsonb], JsonbArray, |_, a| jsonb_array(elements_of(&a[0])?.iter()));
    r.strict("jsonb_array_elements_text", &[Jsonb], TextArray, |_, a| text_array(elements_of(&a[0])?.iter()));
    // The columns of these, each by itself.
    r.strict("jsonb_each key", &[Jsonb], TextArray, |_, a| keys_of("jsonb_each", &a[0]));
    r.strict("jsonb_each value", &[Jsonb], JsonbArray, |_, a| jsonb_array(members_of("jsonb_each", &a[0])?.values()));
    r.strict("jsonb_each_text key", &[Jsonb], TextArray, |_, a| keys_of("jsonb_each_text", &a[0]));
    r.strict("jsonb_each_text value", &[Jsonb], TextArray, |_, a| {
        text_array(members_of("jsonb_each_text", &a[0])?.values())
    });
}

fn members_of(function: &str, datum: &Datum) -> Result<serde_json::Map<String, Value>, SqlError> {
    match parse(datum)? {
        Value::Object(members) => Ok(members),
        Value::Array(_) => Err(SqlError::new("22023", format!("cannot call {function} on an array"))),
        _ => Err(SqlError::new("22023", format!("cannot call {function} on a scalar"))),
    }
}

fn keys_of(function: &str, datum: &Datum) -> Result<Datum, SqlError> {
    let keys = members_of(function, datum)?.into_iter().map(|(key, _)| Datum::Text(key));
    Ok(Datum::array(Text, keys.collect()))
}

fn elements_of(datum: &Datum) -> Result<Vec<Value>, SqlError> {
    match parse(datum)? {
        Value::Array(items) => Ok(items),
        Value::Object(_) => Err(SqlError::new("22023", "cannot extract elements from an object")),
        _ => Err(SqlError::new("22023", "cannot extract elements from a scalar")),
    }
}

fn jsonb_array<'a>(values: impl Iterator<Item = &'a Value>) -> Result<Datum, SqlError> {
    let made = |(count, value)| interrupt::check_at(count).and_then(|()| json::to_canonical(value).map(Datum::Jsonb));
    let values = values.enumerate().map(made);
    Ok(Datum::array(Jsonb, values.collect::<Result<_, _>>()?))
}

fn text_array<'a>(values: impl Iterator<Item = &'a Value>) -> Result<Datum, SqlError> {
    let values = values.enumerate().map(|(count, value)| {
        interrupt::check_at(count)?;
        Ok(as_text(value)?.map_or(Datum::Null, Datum::Text))
    });
    Ok(Datum::array(Text, values.collect::<Result<_, SqlError>>()?))
}
