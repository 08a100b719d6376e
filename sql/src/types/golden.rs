//! Tables of what PostgreSQL 15 answers, and how they are read.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::{PgType, TimeZone, TypeSettings, from_sqlparser};
use crate::SqlError;

/// The fields of each line that is no comment, with `\\`, `\n` and `\t` read.
pub fn lines(table: &str) -> Vec<Vec<String>> {
    let field = |text: &str| {
        let mut out = String::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' => out.push(match characters.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    other => other.unwrap_or('\\'),
                }),
                other => out.push(other),
            }
        }
        out
    };
    let lines = table.split('\n').filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split('\t').map(field).collect()).collect()
}

/// The settings the tables were made under.
pub fn settings() -> TypeSettings {
    TypeSettings { timezone: TimeZone::parse("America/New_York").expect("a zone"), ..TypeSettings::default() }
}

/// A type and typmod by its SQL name.
pub fn type_named(name: &str) -> (PgType, i32) {
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).try_with_sql(name).expect("tokens");
    from_sqlparser(&parser.parse_data_type().expect("a type")).expect("a known type")
}

/// An outcome as the tables write it; of errors only the code counts.
pub fn outcome(result: Result<String, SqlError>) -> String {
    result.unwrap_or_else(|error| format!("ERROR {} {}", error.code, error.message))
}

/// Fails with every line where the outcomes differ.
pub fn check(differences: Vec<String>) {
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

/// Whether an outcome is the expected one: the same text, or an error of the same code and message.
pub fn same(expected: &str, actual: &str) -> bool {
    let code = |text: &str| text.strip_prefix("ERROR ").map(|rest| rest[..5].to_owned());
    match (code(expected), code(actual)) {
        (Some(a), Some(b)) => a == b,
        _ => expected == actual,
    }
}
