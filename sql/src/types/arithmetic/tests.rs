use super::*;
use crate::types::golden::{check, lines, outcome, same, settings, type_named};
use crate::types::{parse_text, to_text};

#[test]
fn arithmetic_gives_what_postgres_gives() {
    let settings = settings();
    let mut differences = Vec::new();
    for line in lines(include_str!("golden.tsv")) {
        let operand = |ty: &str, value: &str| {
            let (ty, typmod) = type_named(ty);
            parse_text(value, ty, typmod, &settings).expect("an operand")
        };
        let (left, right) = (operand(&line[0], &line[1]), operand(&line[3], &line[4]));
        let operator = match line[2].as_str() {
            "+" => Add,
            "-" => Subtract,
            "*" => Multiply,
            "/" => Divide,
            "%" => Modulo,
            _ => Power,
        };
        let result = arithmetic(operator, &left, &right).map(|datum| {
            let ty = datum.natural_type().expect("no NULLs here");
            let planned = result_type(operator, type_named(&line[0]).0, type_named(&line[3]).0);
            assert_eq!(planned, Some(ty), "{line:?}");
            to_text(&datum, ty, -1, &settings)
        });
        let actual = outcome(result);
        if !same(&line[5], &actual) {
            differences.push(format!("{line:?}: found {actual:?}"));
        }
    }
    check(differences);
}
