use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::*;

fn is_small(text: &str) -> bool {
    let statement = Parser::parse_sql(&PostgreSqlDialect {}, text).expect("parsed").remove(0);
    let Statement::Query(query) = statement else { panic!("{text} is a query") };
    check(&query).map_err(|error| assert_eq!(error.code, "54001")).is_ok()
}

fn doubled(names: usize, used: &str) -> String {
    let named = (0..names)
        .map(|at| format!(", w{} AS (SELECT x.a FROM w{at} AS x{})", at + 1, used.replace('#', &at.to_string())));
    format!("WITH w0 AS (SELECT a FROM t){} SELECT * FROM w{names}", named.collect::<String>())
}

#[test]
fn what_is_used_twice_is_counted_twice() {
    assert!(is_small(&doubled(13, ", w# AS y")));
    assert!(!is_small(&doubled(16, ", w# AS y")));
    assert!(!is_small(&doubled(1_000, ", w# AS y")));
    assert!(!is_small(&doubled(16, " WHERE EXISTS (SELECT 1 FROM w#)")));
    assert!(!is_small(&doubled(16, " WHERE a IN (SELECT a FROM (SELECT a FROM \"w#\") AS z)")));
    assert!(is_small(&doubled(1_000, "")), "used once each");
}

#[test]
fn names_are_those_of_their_query() {
    // Each query names another w.
    let nested = (0..40).fold("SELECT a FROM t".to_owned(), |inner, _| format!("WITH w AS ({inner}) SELECT * FROM w"));
    assert!(is_small(&nested));
    let hidden = "(WITH w AS (SELECT 1) SELECT * FROM w, w AS v) AS d";
    assert!(is_small(&format!("{} , {hidden}", doubled(13, ", w# AS y"))));
    // Of another schema, or a table: one node.
    assert!(is_small(&doubled(1_000, ", public.w# AS y")));
    assert!(is_small("WITH RECURSIVE w(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM w) SELECT * FROM w, w AS v"));
}
