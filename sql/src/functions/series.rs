//! Functions that give rows. Here each gives the array of its rows; a query takes the array apart.

use super::registry::{Call, Registry};
use crate::SqlError;
use crate::interrupt;
use crate::types::datetime::is_infinite;
use crate::types::{Datum, Interval, Numeric, PgType, add_interval, add_interval_in_zone};

use PgType::{
    Int4, Int4Array, Int8, Int8Array, Numeric as Number, NumericArray, Timestamp, TimestampArray, TimestampTz,
    TimestampTzArray,
};

/// As many rows as are held at once.
const MOST: usize = 10_000_000;

fn too_many() -> SqlError {
    SqlError::new("54000", format!("generate_series of more than {MOST} rows is not supported in this place"))
}

/// Whether one row more can be held, and whether to go on.
fn room(rows: usize) -> Result<(), SqlError> {
    if rows == MOST {
        return Err(too_many());
    }
    interrupt::check_at(rows)
}

pub(super) fn register(r: &mut Registry) {
    let integers = |_: &Call<'_>, a: &[Datum]| integers(a);
    let numbers = |_: &Call<'_>, a: &[Datum]| numbers(a);
    r.strict("generate_series", &[Int4, Int4], Int4Array, integers);
    r.strict("generate_series", &[Int4, Int4, Int4], Int4Array, integers);
    r.strict("generate_series", &[Int8, Int8], Int8Array, integers);
    r.strict("generate_series", &[Int8, Int8, Int8], Int8Array, integers);
    r.strict("generate_series", &[Number, Number], NumericArray, numbers);
    r.strict("generate_series", &[Number, Number, Number], NumericArray, numbers);
    r.strict("generate_series", &[Timestamp, Timestamp, PgType::Interval], TimestampArray, |_, a| {
        let (Datum::Timestamp(from), Datum::Timestamp(to)) = (&a[0], &a[1]) else { return Ok(Datum::Null) };
        moments(*from, *to, &a[2], Timestamp, add_interval, Datum::Timestamp)
    });
    r.strict("generate_series", &[TimestampTz, TimestampTz, PgType::Interval], TimestampTzArray, |call, a| {
        let (Datum::TimestampTz(from), Datum::TimestampTz(to)) = (&a[0], &a[1]) else { return Ok(Datum::Null) };
        let zone = call.settings().timezone;
        let add = |at, by| add_interval_in_zone(at, by, &zone);
        moments(*from, *to, &a[2], TimestampTz, add, Datum::TimestampTz)
    })
    .stable();
}

fn no_step() -> SqlError {
    SqlError::new("22023", "step size cannot equal zero")
}

fn integers(a: &[Datum]) -> Result<Datum, SqlError> {
    let number = |at: usize| a.get(at).and_then(Datum::as_i64);
    let (Some(from), Some(to)) = (number(0), number(1)) else { return Ok(Datum::Null) };
    let step = number(2).unwrap_or(1);
    if step == 0 {
        return Err(no_step());
    }
    let narrow = matches!(a[0], Datum::Int4(_));
    let mut rows = Vec::new();
    let mut next = Some(from);
    while let Some(value) = next.filter(|value| if step > 0 { *value <= to } else { *value >= to }) {
        room(rows.len())?;
        rows.push(if narrow { Datum::Int4(value as i32) } else { Datum::Int8(value) });
        next = value.checked_add(step);
    }
    Ok(Datum::array(if narrow { Int4 } else { Int8 }, rows))
}

fn numbers(a: &[Datum]) -> Result<Datum, SqlError> {
    let number = |at: usize| match a.get(at) {
        Some(Datum::Numeric(value)) => value.clone(),
        _ => Numeric::from(1),
    };
    let (from, to, step) = (number(0), number(1), number(2));
    for (name, value) in [("start", &from), ("stop", &to), ("step size", &step)] {
        if !value.is_finite() {
            let what = if matches!(value, Numeric::NaN) { "NaN" } else { "infinity" };
            let name = if name == "step size" { name.to_owned() } else { format!("{name} value") };
            return Err(SqlError::new("22023", format!("{name} cannot be {what}")));
        }
    }
    if step.is_zero() {
        return Err(no_step());
    }
    let scale = from.scale().max(step.scale());
    let mut rows = Vec::new();
    let mut value = from;
    while if step.is_negative() { value >= to } else { value <= to } {
        room(rows.len())?;
        let next = value.add(&step)?;
        rows.push(Datum::Numeric(value.rescale(scale)));
        value = next;
    }
    Ok(Datum::array(Number, rows))
}

fn moments(
    from: i64,
    to: i64,
    step: &Datum,
    ty: PgType,
    add: impl Fn(i64, Interval) -> Result<i64, SqlError>,
    datum: impl Fn(i64) -> Datum,
) -> Result<Datum, SqlError> {
    let Datum::Interval(step) = step else { return Ok(Datum::Null) };
    let sign = step.months.signum().cmp(&0).then(step.days.cmp(&0)).then(step.micros.cmp(&0));
    if sign.is_eq() {
        return Err(no_step());
    }
    let mut rows = Vec::new();
    let mut value = from;
    while if sign.is_gt() { value <= to } else { value >= to } {
        room(rows.len())?;
        if is_infinite(value) {
            return Err(too_many());
        }
        rows.push(datum(value));
        value = add(value, *step)?;
    }
    Ok(Datum::array(ty, rows))
}
