//! Functions of numbers.

use super::registry::{Arg, Registry, Ret};
use crate::SqlError;
use crate::types::{BinaryOperator, Datum, Numeric, PgType, arithmetic, compare};

use PgType::{Float4, Float8, Int2, Int4, Int8, Numeric as Number};

fn int(datum: &Datum) -> i64 {
    datum.as_i64().unwrap_or_default()
}

fn float(datum: &Datum) -> f64 {
    match datum {
        Datum::Float8(value) => *value,
        Datum::Float4(value) => f64::from(*value),
        _ => f64::NAN,
    }
}

fn number(datum: &Datum) -> Numeric {
    match datum {
        Datum::Numeric(value) => value.clone(),
        _ => Numeric::NaN,
    }
}

fn numeric(value: Numeric) -> Result<Datum, SqlError> {
    Ok(Datum::Numeric(value))
}

fn double(value: f64) -> Result<Datum, SqlError> {
    Ok(Datum::Float8(value))
}

pub(super) fn register(r: &mut Registry) {
    magnitudes(r);
    rounding(r);
    powers(r);
    trigonometry(r);
    integers(r);
    extremes(r);
}

fn magnitudes(r: &mut Registry) {
    for name in ["abs", "@"] {
        r.strict(name, &[Int2], Int2, |_, a| absolute(&a[0]));
        r.strict(name, &[Int4], Int4, |_, a| absolute(&a[0]));
        r.strict(name, &[Int8], Int8, |_, a| absolute(&a[0]));
        r.strict(name, &[Number], Number, |_, a| numeric(number(&a[0]).abs()));
        r.strict(name, &[Float4], Float4, |_, a| Ok(Datum::Float4(float(&a[0]).abs() as f32)));
        r.strict(name, &[Float8], Float8, |_, a| double(float(&a[0]).abs()));
    }
    r.strict("sign", &[Number], Number, |_, a| numeric(number(&a[0]).signum()));
    r.strict("sign", &[Float8], Float8, |_, a| match float(&a[0]) {
        0.0 => double(0.0),
        value => double(value.signum()),
    });
}

fn absolute(value: &Datum) -> Result<Datum, SqlError> {
    if int(value) < 0 { crate::types::negate(value) } else { Ok(value.clone()) }
}

fn rounding(r: &mut Registry) {
    for name in ["ceil", "ceiling"] {
        r.strict(name, &[Number], Number, |_, a| numeric(number(&a[0]).ceil()));
        r.strict(name, &[Float8], Float8, |_, a| double(float(&a[0]).ceil()));
    }
    r.strict("floor", &[Number], Number, |_, a| numeric(number(&a[0]).floor()));
    r.strict("floor", &[Float8], Float8, |_, a| double(float(&a[0]).floor()));
    r.strict("round", &[Number], Number, |_, a| numeric(number(&a[0]).round(0)));
    r.strict("round", &[Float8], Float8, |_, a| double(float(&a[0]).round_ties_even()));
    r.strict("round", &[Number, Int4], Number, |_, a| numeric(number(&a[0]).round(int(&a[1]) as i32)));
    r.strict("trunc", &[Number], Number, |_, a| numeric(number(&a[0]).trunc(0)));
    r.strict("trunc", &[Float8], Float8, |_, a| double(float(&a[0]).trunc()));
    r.strict("trunc", &[Number, Int4], Number, |_, a| numeric(number(&a[0]).trunc(int(&a[1]) as i32)));
    r.strict("scale", &[Number], Int4, |_, a| Ok(Datum::Int4(number(&a[0]).scale() as i32)));
    r.strict("min_scale", &[Number], Int4, |_, a| Ok(Datum::Int4(number(&a[0]).trim_scale().scale() as i32)));
    r.strict("trim_scale", &[Number], Number, |_, a| numeric(number(&a[0]).trim_scale()));
}

fn powers(r: &mut Registry) {
    r.strict("sqrt", &[Float8], Float8, |_, a| match float(&a[0]) {
        value if value < 0.0 => Err(SqlError::new("2201F", "cannot take square root of a negative number")),
        value => double(value.sqrt()),
    });
    r.strict("sqrt", &[Number], Number, |_, a| number(&a[0]).sqrt().and_then(numeric));
    r.strict("cbrt", &[Float8], Float8, |_, a| double(float(&a[0]).cbrt()));
    for name in ["power", "pow"] {
        r.strict(name, &[Float8, Float8], Float8, |_, a| arithmetic(BinaryOperator::Power, &a[0], &a[1]));
        r.strict(name, &[Number, Number], Number, |_, a| arithmetic(BinaryOperator::Power, &a[0], &a[1]));
    }
    r.strict("exp", &[Float8], Float8, |_, a| match float(&a[0]).exp() {
        value if value.is_infinite() && float(&a[0]).is_finite() => {
            Err(SqlError::new("22003", "value out of range: overflow"))
        }
        value => double(value),
    });
    r.strict("exp", &[Number], Number, |_, a| number(&a[0]).exp().and_then(numeric));
    r.strict("ln", &[Float8], Float8, |_, a| logarithm(float(&a[0])).and_then(|value| double(value.ln())));
    r.strict("ln", &[Number], Number, |_, a| {
        positive(&number(&a[0]))?;
        numeric(number(&a[0]).ln())
    });
    for name in ["log", "log10"] {
        r.strict(name, &[Float8], Float8, |_, a| logarithm(float(&a[0])).and_then(|value| double(value.log10())));
        r.strict(name, &[Number], Number, |_, a| {
            positive(&number(&a[0]))?;
            number(&a[0]).log(&Numeric::from(10)).and_then(numeric)
        });
    }
    r.strict("log", &[Number, Number], Number, |_, a| {
        positive(&number(&a[0]))?;
        positive(&number(&a[1]))?;
        number(&a[1]).log(&number(&a[0])).and_then(numeric)
    });
}

/// The argument of a logarithm must be.
fn positive(value: &Numeric) -> Result<(), SqlError> {
    let sign = if value.is_negative() { -1.0 } else { f64::from(u8::from(!value.is_zero())) };
    logarithm(sign).map(drop)
}

/// The argument of a logarithm.
fn logarithm(value: f64) -> Result<f64, SqlError> {
    if value == 0.0 {
        Err(SqlError::new("2201E", "cannot take logarithm of zero"))
    } else if value < 0.0 {
        Err(SqlError::new("2201E", "cannot take logarithm of a negative number"))
    } else {
        Ok(value)
    }
}

fn trigonometry(r: &mut Registry) {
    r.strict("sin", &[Float8], Float8, |_, a| double(float(&a[0]).sin()));
    r.strict("cos", &[Float8], Float8, |_, a| double(float(&a[0]).cos()));
    r.strict("tan", &[Float8], Float8, |_, a| double(float(&a[0]).tan()));
    r.strict("cot", &[Float8], Float8, |_, a| double(float(&a[0]).tan().recip()));
    r.strict("asin", &[Float8], Float8, |_, a| in_range(float(&a[0]).asin()));
    r.strict("acos", &[Float8], Float8, |_, a| in_range(float(&a[0]).acos()));
    r.strict("atan", &[Float8], Float8, |_, a| double(float(&a[0]).atan()));
    r.strict("atan2", &[Float8, Float8], Float8, |_, a| double(float(&a[0]).atan2(float(&a[1]))));
    r.strict("sinh", &[Float8], Float8, |_, a| double(float(&a[0]).sinh()));
    r.strict("cosh", &[Float8], Float8, |_, a| double(float(&a[0]).cosh()));
    r.strict("tanh", &[Float8], Float8, |_, a| double(float(&a[0]).tanh()));
    r.strict("degrees", &[Float8], Float8, |_, a| double(float(&a[0]).to_degrees()));
    r.strict("radians", &[Float8], Float8, |_, a| double(float(&a[0]).to_radians()));
    r.strict("pi", &[], Float8, |_, _| double(std::f64::consts::PI));
    r.strict("random", &[], Float8, |call, _| {
        double((call.context.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64)
    })
    .volatile();
}

fn in_range(value: f64) -> Result<Datum, SqlError> {
    if value.is_nan() { Err(SqlError::new("22003", "input is out of range")) } else { double(value) }
}

fn integers(r: &mut Registry) {
    for ty in [Int2, Int4, Int8, Number] {
        r.strict("mod", &[ty, ty], ty, |_, a| arithmetic(BinaryOperator::Modulo, &a[0], &a[1]));
    }
    r.strict("div", &[Number, Number], Number, |_, a| {
        let (dividend, divisor) = (number(&a[0]), number(&a[1]));
        let rest = dividend.remainder(&divisor)?;
        numeric(dividend.subtract(&rest)?.divide(&divisor)?.round(0))
    });
    r.strict("factorial", &[Int8], Number, |_, a| {
        let overflow = || SqlError::new("22003", "value overflows numeric format");
        match int(&a[0]) {
            ..0 => Err(SqlError::new("22003", "factorial of a negative number is undefined")),
            32_178.. => Err(overflow()),
            of => (2..=of)
                .try_fold(Numeric::from(1), |so_far, next| so_far.multiply(&Numeric::from(next)))
                .and_then(numeric),
        }
    });
    r.strict("gcd", &[Int4, Int4], Int4, |_, a| fits(gcd(int(&a[0]), int(&a[1])), Int4));
    r.strict("gcd", &[Int8, Int8], Int8, |_, a| fits(gcd(int(&a[0]), int(&a[1])), Int8));
    for ty in [Int4, Int8] {
        r.strict("lcm", &[ty, ty], ty, |call, a| {
            let divisor = gcd(int(&a[0]), int(&a[1])).max(1);
            fits(i128::from(int(&a[0])) / divisor * i128::from(int(&a[1])), call.result)
        });
    }
    for ty in [Int4, Int8] {
        r.strict("&", &[ty, ty], ty, |call, a| fits(i128::from(int(&a[0]) & int(&a[1])), call.result));
        r.strict("|", &[ty, ty], ty, |call, a| fits(i128::from(int(&a[0]) | int(&a[1])), call.result));
        r.strict("#", &[ty, ty], ty, |call, a| fits(i128::from(int(&a[0]) ^ int(&a[1])), call.result));
        r.strict("~", &[ty], ty, |call, a| fits(i128::from(!int(&a[0])), call.result));
    }
    r.strict("width_bucket", &[Number, Number, Number, Int4], Int4, |_, a| {
        // Exact, so that a bound falls where it belongs.
        let (value, low, high) = (number(&a[0]), number(&a[1]), number(&a[2]));
        let inside = if low < high { value >= low && value < high } else { value <= low && value > high };
        if !inside || !value.is_finite() || !low.is_finite() || !high.is_finite() || int(&a[3]) <= 0 {
            return bucket(value.to_f64(), low.to_f64(), high.to_f64(), int(&a[3]));
        }
        let share = value.subtract(&low)?.multiply(&Numeric::from(int(&a[3])))?.divide(&high.subtract(&low)?)?;
        fits(i128::from(share.floor().to_i64().unwrap_or(0)) + 1, Int4)
    });
    r.strict("width_bucket", &[Float8, Float8, Float8, Int4], Int4, |_, a| {
        bucket(float(&a[0]), float(&a[1]), float(&a[2]), int(&a[3]))
    });
    r.strict("<<", &[Int4, Int4], Int4, |_, a| Ok(Datum::Int4((int(&a[0]) as i32).wrapping_shl(int(&a[1]) as u32))));
    r.strict(">>", &[Int4, Int4], Int4, |_, a| Ok(Datum::Int4((int(&a[0]) as i32).wrapping_shr(int(&a[1]) as u32))));
    r.strict("<<", &[Int8, Int4], Int8, |_, a| Ok(Datum::Int8(int(&a[0]).wrapping_shl(int(&a[1]) as u32))));
    r.strict(">>", &[Int8, Int4], Int8, |_, a| Ok(Datum::Int8(int(&a[0]).wrapping_shr(int(&a[1]) as u32))));
}

/// The bucket, of so many of one width between two bounds, that a value falls into; 0 and one more for those outside.
fn bucket(value: f64, low: f64, high: f64, count: i64) -> Result<Datum, SqlError> {
    let wrong = |message: &str| Err(SqlError::new("2201G", message));
    if count <= 0 {
        return wrong("count must be greater than zero");
    }
    if value.is_nan() || low.is_nan() || high.is_nan() {
        return wrong("operand, lower bound, and upper bound cannot be NaN");
    }
    if low.is_infinite() || high.is_infinite() {
        return wrong("lower and upper bounds must be finite");
    }
    if low == high {
        return wrong("lower bound cannot equal upper bound");
    }
    let (outside_low, outside_high) =
        if low < high { (value < low, value >= high) } else { (value > low, value <= high) };
    let place = match (outside_low, outside_high) {
        (true, _) => 0,
        (_, true) => count + 1,
        _ => ((value - low) / (high - low) * count as f64).floor().min((count - 1) as f64) as i64 + 1,
    };
    fits(i128::from(place), Int4)
}

fn gcd(a: i64, b: i64) -> i128 {
    let (mut a, mut b) = (i128::from(a).abs(), i128::from(b).abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn fits(value: i128, ty: PgType) -> Result<Datum, SqlError> {
    let range = |name: &str| SqlError::new("22003", format!("{name} out of range"));
    match ty {
        Int4 => i32::try_from(value).map(Datum::Int4).map_err(|_| range("integer")),
        _ => i64::try_from(value).map(Datum::Int8).map_err(|_| range("bigint")),
    }
}

fn extremes(r: &mut Registry) {
    r.polymorphic("greatest", &[Arg::Common], Ret::Same(0), |_, a| {
        Ok(a.iter().filter(|value| !value.is_null()).max_by(|x, y| compare(x, y)).cloned().unwrap_or_default())
    })
    .variadic()
    .called_on_null();
    r.polymorphic("least", &[Arg::Common], Ret::Same(0), |_, a| {
        Ok(a.iter().filter(|value| !value.is_null()).min_by(|x, y| compare(x, y)).cloned().unwrap_or_default())
    })
    .variadic()
    .called_on_null();
}
