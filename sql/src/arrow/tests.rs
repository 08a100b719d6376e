use super::*;
use crate::types::{Datum, Numeric, PgType, TypeSettings, parse_text};

fn parse(ty: PgType, text: &str) -> Datum {
    parse_text(text, ty, -1, &TypeSettings::default()).expect("the text is a value of the type")
}

#[test]
fn values_come_back_as_they_were_put() {
    let cases: &[(PgType, &[&str])] = &[
        (PgType::Bool, &["true", "false"]),
        (PgType::Int2, &["-32768", "7"]),
        (PgType::Int4, &["2147483647"]),
        (PgType::Int8, &["-9223372036854775808"]),
        (PgType::Float8, &["1.5", "NaN", "-Infinity"]),
        (PgType::Numeric, &["0", "0.00", "1.50", "-120", "1e30", "0.00001", "NaN", "-Infinity", "99.999"]),
        (PgType::Text, &["", "héllo"]),
        (PgType::Varchar, &["x"]),
        (PgType::Bytea, &["\\x00ff"]),
        (PgType::Date, &["2026-02-28", "infinity"]),
        (PgType::Time, &["24:00:00"]),
        (PgType::Timestamp, &["2026-02-28 01:02:03.456789"]),
        (PgType::TimestampTz, &["2026-02-28 01:02:03+02"]),
        (PgType::Interval, &["1 year 2 mons -3 days 04:05:06.7"]),
        (PgType::Uuid, &["00112233-4455-6677-8899-aabbccddeeff"]),
        (PgType::Json, &["{\"a\": 1}"]),
        (PgType::Jsonb, &["{\"a\": 1}"]),
        (PgType::Regclass, &["42"]),
        (PgType::Int4Array, &["{1,NULL,3}", "{}"]),
        (PgType::NumericArray, &["{1.0,2.00}"]),
    ];
    for (ty, texts) in cases {
        let mut datums: Vec<Datum> = texts.iter().map(|text| parse(*ty, text)).collect();
        datums.push(Datum::Null);
        let array = array_of(*ty, &datums).expect("the datums are of the type");
        assert_eq!(array.data_type(), &data_type(*ty), "{ty:?}");
        assert_eq!(type_of(&field("f", *ty, 9, true)), (*ty, 9));
        for (row, datum) in datums.iter().enumerate() {
            // By their text: NaN is not equal to itself.
            let read = datum_at(*ty, &array, row).expect("readable");
            assert_eq!(format!("{read:?}"), format!("{datum:?}"), "{ty:?}");
        }
    }
}

#[test]
fn bytes_of_numbers_sort_as_the_numbers_do() {
    let texts =
        ["-Infinity", "-1e20", "-10.5", "-10.4", "-1", "-0.001", "0", "0.001", "1", "9.99", "10", "1e20", "NaN"];
    let keys: Vec<Vec<u8>> =
        texts.iter().map(|text| numeric_to_bytes(&text.parse::<Numeric>().expect("a number"))).collect();
    assert!(keys.is_sorted());
    let key = |text: &str| {
        let bytes = numeric_to_bytes(&text.parse::<Numeric>().expect("a number"));
        bytes[..bytes.len() - SCALE_BYTES].to_vec()
    };
    assert_eq!(key("1.5"), key("1.500"));
}
