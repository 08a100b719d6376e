use proptest::prelude::*;

use super::*;
use crate::types::numeric::BigInt;
use crate::types::{Datum, Interval, Numeric, PgType, compare};

const TYPES: [PgType; 21] = [
    PgType::Bool,
    PgType::Int2,
    PgType::Int4,
    PgType::Int8,
    PgType::Float4,
    PgType::Float8,
    PgType::Numeric,
    PgType::Text,
    PgType::Bpchar,
    PgType::Bytea,
    PgType::Date,
    PgType::Time,
    PgType::Timestamp,
    PgType::TimestampTz,
    PgType::Interval,
    PgType::Uuid,
    PgType::Json,
    PgType::Jsonb,
    PgType::Oid,
    PgType::Int4Array,
    PgType::TextArray,
];

fn numeric() -> impl Strategy<Value = Numeric> {
    prop_oneof![
        8 => (any::<i64>(), 0..12u32).prop_map(|(digits, scale)| Numeric::new(digits, scale)),
        4 => (-30..30i64, 0..3u32).prop_map(|(digits, scale)| Numeric::new(digits, scale)),
        2 => (any::<i128>(), 0..40u32).prop_map(|(digits, scale)| Numeric::new(BigInt::from(digits), scale)),
        1 => prop_oneof![Just(Numeric::NaN), Just(Numeric::Infinity), Just(Numeric::NegativeInfinity)],
    ]
}

/// Values of a type, NULL among them.
fn datum(ty: PgType) -> BoxedStrategy<Datum> {
    let interval = (-20..20i32, -90..90i32, -200_000_000_000..200_000_000_000i64);
    let value = match ty {
        PgType::Bool => any::<bool>().prop_map(Datum::Bool).boxed(),
        PgType::Int2 => any::<i16>().prop_map(Datum::Int2).boxed(),
        PgType::Int4 => any::<i32>().prop_map(Datum::Int4).boxed(),
        PgType::Int8 => prop_oneof![any::<i64>(), -300..300i64].prop_map(Datum::Int8).boxed(),
        PgType::Float4 => any::<f32>().prop_map(Datum::Float4).boxed(),
        PgType::Float8 => any::<f64>().prop_map(Datum::Float8).boxed(),
        PgType::Numeric => numeric().prop_map(Datum::Numeric).boxed(),
        PgType::Bpchar => "[ab]{0,3}".prop_map(Datum::Text).boxed(),
        PgType::Bytea => proptest::collection::vec(0..3u8, 0..4).prop_map(Datum::Bytea).boxed(),
        PgType::Date => any::<i32>().prop_map(Datum::Date).boxed(),
        PgType::Time => (0..86_400_000_000i64).prop_map(Datum::Time).boxed(),
        PgType::Timestamp => any::<i64>().prop_map(Datum::Timestamp).boxed(),
        PgType::TimestampTz => any::<i64>().prop_map(Datum::TimestampTz).boxed(),
        PgType::Interval => interval.prop_map(|(m, d, u)| Datum::Interval(Interval::new(m, d, u))).boxed(),
        PgType::Uuid => any::<[u8; 16]>().prop_map(Datum::Uuid).boxed(),
        PgType::Json => Just(Datum::Json("{\"a\": 1}".into())).boxed(),
        PgType::Jsonb => Just(Datum::Jsonb("[1, 2]".into())).boxed(),
        PgType::Oid => any::<u32>().prop_map(Datum::Oid).boxed(),
        ty => match ty.element() {
            Some(element) => proptest::collection::vec(datum(element), 0..4)
                .prop_map(move |values| Datum::array(element, values))
                .boxed(),
            None => "\\PC{0,8}".prop_map(Datum::Text).boxed(),
        },
    };
    prop_oneof![1 => Just(Datum::Null), 6 => value].boxed()
}

fn column(id: u32, ty: PgType, missing: Datum) -> StoredColumn {
    StoredColumn { id, ty, missing }
}

/// NaN is unlike itself to `PartialEq`.
fn same(left: &Datum, right: &Datum) -> bool {
    format!("{left:?}") == format!("{right:?}")
}

proptest! {
    #[test]
    fn row_round_trip(row in TYPES.map(datum)) {
        let codec = RowCodec::new(TYPES.iter().enumerate().map(|(id, ty)| column(id as u32 * 3 + 1, *ty, Datum::Null)));
        let back = codec.decode(&codec.encode(&row)).expect("what was encoded");
        prop_assert!(row.iter().zip(&back).all(|(a, b)| same(a, b)), "{row:?} {back:?}");
    }

    #[test]
    fn key_order_and_round_trip(
        (ty, left, right) in (0..TYPES.len()).prop_map(|index| TYPES[index])
            .prop_filter("a key type", |ty| is_key_type(*ty))
            .prop_flat_map(|ty| (Just(ty), datum(ty), datum(ty))),
        descending in any::<bool>(),
    ) {
        let key_column = if descending { KeyColumn::descending(ty) } else { KeyColumn::ascending(ty) };
        let key = |datum: &Datum| {
            let mut out = Vec::new();
            encode_key(&mut out, datum, &key_column);
            // What follows must not matter.
            out.push(0x80);
            out
        };
        let order = compare(&left, &right);
        let order = if descending { order.reverse() } else { order };
        prop_assert_eq!(key(&left).cmp(&key(&right)), order, "{:?} {:?}", &left, &right);
        let encoded = key(&left);
        let mut input = &encoded[..];
        let back = decode_key(&mut input, &key_column).expect("what was encoded");
        prop_assert_eq!(input, &[0x80][..]);
        prop_assert!(compare(&back, &left).is_eq());
        if key_keeps_value(ty) {
            prop_assert!(same(&back, &left));
        }
    }

    #[test]
    fn garbage_is_refused_not_panicked_on(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let codec = RowCodec::new(TYPES.iter().enumerate().map(|(id, ty)| column(id as u32, *ty, Datum::Null)));
        let _ = codec.decode(&bytes);
        for ty in TYPES {
            let _ = decode_key(&mut &bytes[..], &KeyColumn::ascending(ty));
        }
    }
}

#[test]
fn columns_come_and_go() {
    let written = RowCodec::new([column(1, PgType::Int4, Datum::Null), column(2, PgType::Text, Datum::Null)]);
    let bytes = written.encode(&[Datum::Int4(7), Datum::from("gone")]);
    let later = RowCodec::new([column(3, PgType::Int8, Datum::Int8(42)), column(1, PgType::Int4, Datum::Null)]);
    assert_eq!(later.decode(&bytes), Ok(vec![Datum::Int8(42), Datum::Int4(7)]));
    let explicit = later.encode(&[Datum::Null, Datum::Int4(8)]);
    assert_eq!(later.decode(&explicit), Ok(vec![Datum::Null, Datum::Int4(8)]), "NULL is not absence");
}

#[test]
fn nulls_in_a_unique_index_never_collide() {
    let text = KeyColumn::ascending(PgType::Text);
    let id = KeyColumn::ascending(PgType::Int4);
    let entry = |value: &Datum, key: i32| index_entry_key(b"p", &[(text, value)], true, &[(id, &Datum::Int4(key))]);
    assert_eq!(entry(&Datum::from("a"), 1), entry(&Datum::from("a"), 2));
    assert_ne!(entry(&Datum::Null, 1), entry(&Datum::Null, 2));
}

#[test]
fn a_small_row_is_small() {
    let codec = RowCodec::new([column(1, PgType::Int4, Datum::Null), column(2, PgType::Int4, Datum::Null)]);
    assert_eq!(codec.encode(&[Datum::Int4(1), Datum::Int4(-500)]).len(), 5);
}
