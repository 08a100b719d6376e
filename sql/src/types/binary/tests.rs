use super::*;
use crate::types::golden::{check, lines, settings, type_named};
use crate::types::to_text;

#[test]
fn binary_is_postgres_binary_both_ways() {
    let settings = settings();
    let mut differences = Vec::new();
    for line in lines(include_str!("golden.tsv")) {
        let (ty, typmod) = type_named(&line[0]);
        let datum = parse_text(&line[1], ty, typmod, &settings).expect("what PostgreSQL reads");
        let mut bytes = Vec::new();
        encode_binary(&datum, ty, typmod, &mut bytes).expect("a value of the type");
        let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if hexadecimal != line[2] {
            differences.push(format!("{} {:?}: expected {}, found {hexadecimal}", line[0], line[1], line[2]));
        }
        let back = decode_binary(&bytes, ty, typmod).expect("what was written");
        let (back, there) = (to_text(&back, ty, typmod, &settings), to_text(&datum, ty, typmod, &settings));
        if back != there {
            differences.push(format!("{} {:?}: {there} came back as {back}", line[0], line[1]));
        }
    }
    check(differences);
}

#[test]
fn malformed_binary_is_refused_not_panicked_on() {
    let types = PgType::ALL.iter().copied();
    for ty in types {
        for length in 0..24 {
            let _ = decode_binary(&vec![0xff; length], ty, -1);
            let _ = decode_binary(&vec![0; length], ty, -1);
        }
    }
    let huge_array = [[0, 0, 0, 1], [0; 4], [0, 0, 0, 23], [0x7f, 0xff, 0xff, 0xff], [0, 0, 0, 1]].concat();
    assert_eq!(decode_binary(&huge_array, PgType::Int4Array, -1).expect_err("too short").code, "08P01");
}
