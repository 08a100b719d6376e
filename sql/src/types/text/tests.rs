use super::*;
use crate::types::golden::{check, lines, outcome, same, settings, type_named};

#[test]
fn text_reads_and_prints_as_postgres_does() {
    let settings = settings();
    let mut differences = Vec::new();
    for line in lines(include_str!("golden.tsv")) {
        let (ty, typmod) = type_named(&line[0]);
        let read = parse_text(&line[1], ty, typmod, &settings);
        let actual = outcome(read.map(|datum| to_text(&datum, ty, typmod, &settings)));
        if !same(&line[2], &actual) {
            differences.push(format!("{} {:?}: expected {:?}, found {actual:?}", line[0], line[1], line[2]));
        }
    }
    check(differences);
}
