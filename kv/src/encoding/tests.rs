//! Every encoding keeps order, in both directions, round-trips, delimits itself, and refuses garbage without panic.

use std::cmp::Ordering;
use std::fmt::Debug;

use proptest::prelude::*;

use super::*;

type Put<T> = fn(&mut Vec<u8>, &T);
type Take<T> = fn(&mut &[u8]) -> Result<T, DecodeError>;

fn encode<T>(put: Put<T>, value: &T, reverse: bool) -> Vec<u8> {
    let mut out = Vec::new();
    if reverse {
        descending(&mut out, |out| put(out, value))
    } else {
        put(&mut out, value)
    }
    out
}

/// Checks a pair of values in both directions.
fn check<T: Debug>(put: Put<T>, take: Take<T>, a: &T, b: &T, order: Ordering, same: fn(&T, &T) -> bool) {
    for reverse in [false, true] {
        let (left, right) = (encode(put, a, reverse), encode(put, b, reverse));
        let expected = if reverse { order.reverse() } else { order };
        assert_eq!(left.cmp(&right), expected, "{a:?} and {b:?}, reverse: {reverse}");
        assert!(left[0] > NULL_FIRST && left[0] < NULL_LAST, "NULL sorts outside");
        if order.is_ne() {
            assert!(!right.starts_with(&left), "{a:?} delimits itself");
        }
        let joined = [&left[..], &right, b"tail"].concat();
        let mut rest = &joined[..];
        for expected in [a, b] {
            let got = if reverse { take_descending(&mut rest, take) } else { take(&mut rest) };
            let got = got.expect("what was put can be taken");
            assert!(same(&got, expected), "{got:?} and {expected:?}");
        }
        assert_eq!(rest, b"tail");
    }
}

fn check_ord<T: Ord + Debug>(put: Put<T>, take: Take<T>, a: &T, b: &T) {
    check(put, take, a, b, a.cmp(b), |left, right| left == right);
}

fn float_order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn decimal() -> impl Strategy<Value = Decimal> {
    let digits = prop::collection::vec(0u8..10, 0..8);
    prop_oneof![
        1 => Just(Decimal::NaN),
        1 => any::<bool>().prop_map(|negative| Decimal::Infinity { negative }),
        10 => (any::<bool>(), -6i64..6, digits).prop_map(|(negative, exponent, digits)| Decimal::finite(negative, exponent, &digits)),
    ]
}

/// As an integer scaled by 10^20, with the special values beyond.
fn decimal_rank(value: &Decimal) -> (i8, i128) {
    match value {
        Decimal::NaN => (2, 0),
        Decimal::Infinity { negative } => (if *negative { -1 } else { 1 }, 0),
        Decimal::Finite { negative, exponent, digits } => {
            let scaled = digits.iter().enumerate().fold(0i128, |sum, (place, digit)| {
                let power = u32::try_from(20 + exponent - 1 - place as i64).expect("small numbers");
                sum + i128::from(*digit) * 10i128.pow(power)
            });
            (0, if *negative { -scaled } else { scaled })
        }
    }
}

const INTEGERS: [i64; 14] =
    [i64::MIN, i64::MIN + 1, -65_537, -65_536, -257, -256, -255, -1, 0, 1, 109, 110, 256, i64::MAX];

#[test]
fn special_integers() {
    for a in INTEGERS {
        for b in INTEGERS {
            check_ord(|out, value| put_i64(out, *value), take_i64, &a, &b);
        }
    }
}

#[test]
fn special_floats() {
    let values = [
        f64::NEG_INFINITY,
        f64::MIN,
        -1.0,
        -f64::MIN_POSITIVE,
        -0.0,
        0.0,
        5e-324,
        1.0,
        f64::MAX,
        f64::INFINITY,
        f64::NAN,
        -f64::NAN,
    ];
    for a in values {
        for b in values {
            check(
                |out, value| put_f64(out, *value),
                take_f64,
                &a,
                &b,
                float_order(a, b),
                |x, y| float_order(*x, *y).is_eq(),
            );
        }
    }
}

#[test]
fn booleans_and_nulls() {
    for a in [false, true] {
        for b in [false, true] {
            check_ord(|out, value| put_bool(out, *value), take_bool, &a, &b);
        }
    }
    let mut input = &[NULL_FIRST, NULL_LAST, 0x10][..];
    assert!(take_null(&mut input) && take_null(&mut input) && !take_null(&mut input));
}

proptest! {
    #[test]
    fn integers(a: i64, b: i64, shift_a in 0u32..64, shift_b in 0u32..64) {
        check_ord(|out, value| put_i64(out, *value), take_i64, &(a >> shift_a), &(b >> shift_b));
        check_ord(|out, value| put_u64(out, *value), take_u64, &(a as u64 >> shift_a), &(b as u64 >> shift_b));
    }

    #[test]
    fn floats(a in any::<u64>().prop_map(f64::from_bits), b in any::<u64>().prop_map(f64::from_bits)) {
        check(|out, value| put_f64(out, *value), take_f64, &a, &b, float_order(a, b), |x, y| float_order(*x, *y).is_eq());
    }

    #[test]
    fn byte_strings(a in prop::collection::vec(prop_oneof![0u8..4, any::<u8>(), Just(255)], 0..8), b in prop::collection::vec(prop_oneof![0u8..4, any::<u8>(), Just(255)], 0..8)) {
        check_ord(|out, value| put_bytes(out, value), take_bytes, &a, &b);
    }

    #[test]
    fn texts(a: String, b: String) {
        check_ord(|out, value| put_str(out, value), take_str, &a, &b);
    }

    #[test]
    fn decimals(a in decimal(), b in decimal()) {
        let order = decimal_rank(&a).cmp(&decimal_rank(&b));
        check(put_decimal, take_decimal, &a, &b, order, |x, y| x == y);
    }

    #[test]
    fn garbage_is_refused_without_panic(bytes: Vec<u8>) {
        let _ = take_i64(&mut &bytes[..]);
        let _ = take_u64(&mut &bytes[..]);
        let _ = take_f64(&mut &bytes[..]);
        let _ = take_bool(&mut &bytes[..]);
        let _ = take_str(&mut &bytes[..]);
        let _ = take_decimal(&mut &bytes[..]);
        let _ = take_descending(&mut &bytes[..], take_decimal);
    }
}
