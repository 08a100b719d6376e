use super::*;
use crate::types::golden::{check, lines, outcome, same, settings, type_named};

#[test]
fn explicit_casts_give_what_postgres_gives() {
    let settings = settings();
    let mut differences = Vec::new();
    for line in lines(include_str!("golden.tsv")) {
        let ((from, from_typmod), (to, typmod)) = (type_named(&line[0]), type_named(&line[2]));
        let value = parse_text(&line[1], from, from_typmod, &settings).expect("a value");
        let text = |datum, from| cast(datum, from, PgType::Text, -1, CastContext::Explicit, &settings);
        let result = cast(value, from, to, typmod, CastContext::Explicit, &settings).and_then(|datum| text(datum, to));
        let actual = outcome(result.map(|datum| datum.as_str().unwrap_or("NULL").to_owned()));
        if !same(&line[3], &actual) {
            differences.push(format!("{line:?}: found {actual:?}"));
        }
    }
    check(differences);
}

#[test]
fn strings_too_long_are_cut_only_when_asked_for() {
    let settings = TypeSettings::default();
    let long = || Datum::from("abcdef");
    let cut = cast(long(), PgType::Text, PgType::Varchar, 7, CastContext::Explicit, &settings);
    assert_eq!(cut, Ok(Datum::from("abc")));
    let refused = cast(long(), PgType::Text, PgType::Varchar, 7, CastContext::Assignment, &settings);
    assert_eq!(refused.expect_err("too long").code, "22001");
}
