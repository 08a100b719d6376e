//! Functions of arrays.

use super::registry::{Arg, Call, Registry, Ret};
use super::strings::bounded;
use crate::SqlError;
use crate::interrupt;
use crate::types::{Datum, PgType, compare, to_text};

use PgType::{Bool, Int4, Text, TextArray};

fn items(datum: &Datum) -> &[Datum] {
    match datum {
        Datum::Array(array) => &array.values,
        _ => &[],
    }
}

fn int(datum: &Datum) -> i64 {
    datum.as_i64().unwrap_or_default()
}

fn text(datum: &Datum) -> &str {
    datum.as_str().unwrap_or_default()
}

/// The result's array of these values.
fn array(call: &Call<'_>, values: Vec<Datum>) -> Result<Datum, SqlError> {
    Ok(Datum::array(call.result.element().unwrap_or(Text), values))
}

fn equal(left: &Datum, right: &Datum) -> bool {
    !left.is_null() && !right.is_null() && compare(left, right).is_eq()
}

fn within(needle: &Datum, values: &[Datum]) -> bool {
    values.iter().any(|value| equal(needle, value))
}

pub(super) fn register(r: &mut Registry) {
    measures(r);
    comparisons(r);
    changes(r);
    strings(r);
}

fn measures(r: &mut Registry) {
    let extent: fn(&Call<'_>, &[Datum]) -> Result<Datum, SqlError> = |_, a| match (items(&a[0]).len(), int(&a[1])) {
        (0, _) => Ok(Datum::Null),
        (length, 1) => Ok(Datum::Int4(length as i32)),
        _ => Ok(Datum::Null),
    };
    for name in ["array_length", "array_upper"] {
        r.polymorphic(name, &[Arg::AnyArray, Arg::Is(Int4)], Ret::Is(Int4), extent);
    }
    r.polymorphic("array_lower", &[Arg::AnyArray, Arg::Is(Int4)], Ret::Is(Int4), |_, a| {
        Ok(if items(&a[0]).is_empty() || int(&a[1]) != 1 { Datum::Null } else { Datum::Int4(1) })
    });
    r.polymorphic("cardinality", &[Arg::AnyArray], Ret::Is(Int4), |_, a| Ok(Datum::Int4(items(&a[0]).len() as i32)));
    r.polymorphic("array_ndims", &[Arg::AnyArray], Ret::Is(Int4), |_, a| {
        Ok(if items(&a[0]).is_empty() { Datum::Null } else { Datum::Int4(1) })
    });
    r.polymorphic("array_dims", &[Arg::AnyArray], Ret::Is(Text), |_, a| match items(&a[0]).len() {
        0 => Ok(Datum::Null),
        length => Ok(Datum::Text(format!("[1:{length}]"))),
    });
    r.polymorphic("array_position", &[Arg::AnyArray, Arg::Element], Ret::Is(Int4), |_, a| {
        let same = |value: &Datum| compare(value, &a[1]).is_eq();
        let place = items(&a[0]).iter().position(same);
        Ok(place.map_or(Datum::Null, |place| Datum::Int4(place as i32 + 1)))
    })
    .called_on_null();
}

fn comparisons(r: &mut Registry) {
    let pair = [Arg::AnyArray, Arg::AnyArray];
    r.polymorphic("@>", &pair, Ret::Is(Bool), |_, a| {
        Ok(Datum::Bool(items(&a[1]).iter().all(|value| within(value, items(&a[0])))))
    });
    r.polymorphic("<@", &pair, Ret::Is(Bool), |_, a| {
        Ok(Datum::Bool(items(&a[0]).iter().all(|value| within(value, items(&a[1])))))
    });
    r.polymorphic("&&", &pair, Ret::Is(Bool), |_, a| {
        Ok(Datum::Bool(items(&a[0]).iter().any(|value| within(value, items(&a[1])))))
    });
}

fn changes(r: &mut Registry) {
    for name in ["array_append", "||"] {
        r.polymorphic(name, &[Arg::AnyArray, Arg::Element], Ret::Same(0), |call, a| {
            array(call, items(&a[0]).iter().chain([&a[1]]).cloned().collect())
        })
        .called_on_null();
    }
    for name in ["array_prepend", "||"] {
        r.polymorphic(name, &[Arg::Element, Arg::AnyArray], Ret::Same(1), |call, a| {
            array(call, [&a[0]].into_iter().chain(items(&a[1])).cloned().collect())
        })
        .called_on_null();
    }
    for name in ["array_cat", "||"] {
        r.polymorphic(name, &[Arg::AnyArray, Arg::AnyArray], Ret::Same(0), |call, a| match (&a[0], &a[1]) {
            (Datum::Null, Datum::Null) => Ok(Datum::Null),
            _ => array(call, items(&a[0]).iter().chain(items(&a[1])).cloned().collect()),
        })
        .called_on_null();
    }
    r.polymorphic("array_remove", &[Arg::AnyArray, Arg::Element], Ret::Same(0), |call, a| match &a[0] {
        Datum::Null => Ok(Datum::Null),
        list => array(call, items(list).iter().filter(|value| compare(value, &a[1]).is_ne()).cloned().collect()),
    })
    .called_on_null();
    r.polymorphic("array_replace", &[Arg::AnyArray, Arg::Element, Arg::Element], Ret::Same(0), |call, a| {
        let replaced = |value: &Datum| if compare(value, &a[1]).is_eq() { a[2].clone() } else { value.clone() };
        match &a[0] {
            Datum::Null => Ok(Datum::Null),
            list => array(call, items(list).iter().map(replaced).collect()),
        }
    })
    .called_on_null();
}

fn strings(r: &mut Registry) {
    let join = |call: &Call<'_>, a: &[Datum]| {
        if a[0].is_null() || a[1].is_null() {
            return Ok(Datum::Null);
        }
        let element = call.types[0].element().unwrap_or(Text);
        let null = a.get(2).and_then(Datum::as_str);
        let written = items(&a[0]).iter().filter_map(|value| match value.is_null() {
            true => null.map(str::to_owned),
            false => Some(to_text(value, element, -1, call.settings())),
        });
        let written: Vec<String> = written.collect();
        bounded(written.iter().map(|part| part.len() + text(&a[1]).len()).sum())?;
        Ok(Datum::Text(written.join(text(&a[1]))))
    };
    r.polymorphic("array_to_string", &[Arg::AnyArray, Arg::Is(Text)], Ret::Is(Text), join).called_on_null().stable();
    r.polymorphic("array_to_string", &[Arg::AnyArray, Arg::Is(Text), Arg::Is(Text)], Ret::Is(Text), join)
        .called_on_null()
        .stable();
    for name in ["string_to_array", "string_to_table"] {
        r.strict(name, &[Text, Text], TextArray, split).called_on_null();
        r.strict(name, &[Text, Text, Text], TextArray, split).called_on_null();
    }
}

fn split(call: &Call<'_>, a: &[Datum]) -> Result<Datum, SqlError> {
    let Some(whole) = a[0].as_str() else { return Ok(Datum::Null) };
    let null = a.get(2).and_then(Datum::as_str);
    let mut values = Vec::new();
    let mut push = |part: &str| {
        interrupt::check_at(values.len())?;
        values.push(if null == Some(part) { Datum::Null } else { Datum::Text(part.to_owned()) });
        Ok::<(), SqlError>(())
    };
    match a[1].as_str() {
        _ if whole.is_empty() => {}
        None => whole.split("").filter(|part| !part.is_empty()).try_for_each(&mut push)?,
        Some("") => push(whole)?,
        Some(delimiter) => whole.split(delimiter).try_for_each(&mut push)?,
    }
    array(call, values)
}
