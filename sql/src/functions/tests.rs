use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::execution::context::SessionContext;

use super::*;
use crate::arrow::datum_at;
use crate::types::golden::{check, lines, outcome, same, settings, type_named};
use crate::types::{CastContext, Datum, PgType, cast, parse_text};

fn context() -> Arc<FunctionContext> {
    Arc::new(FunctionContext {
        settings: Arc::new(settings()),
        user: "root".into(),
        database: "postgres".into(),
        search_path: vec!["public".into()],
        version: "PostgreSQL 15 (Meridian)".into(),
        backend_pid: 1,
        parameters: Arc::new(BTreeMap::new()),
        asked_settings: crate::session::AskedSettings::default(),
        random: clock::Random::from_seed(1),
    })
}

#[test]
fn functions_give_what_postgres_gives() {
    let context = context();
    let mut differences = Vec::new();
    for line in lines(include_str!("tests/golden.tsv")) {
        let arguments: Vec<(PgType, Datum)> = line[2..]
            .chunks(2)
            .map(|pair| {
                let (ty, typmod) = type_named(&pair[0]);
                (ty, parse_text(&pair[1], ty, typmod, &context.settings).expect("an argument"))
            })
            .collect();
        let types: Vec<PgType> = arguments.iter().map(|(ty, _)| *ty).collect();
        let result = resolve(&line[0], &types).and_then(|function| {
            let value = function.call(&context, arguments.into_iter().map(|(_, value)| value).collect(), &[])?;
            cast(value, function.result, PgType::Text, -1, CastContext::Explicit, &context.settings)
        });
        let actual = outcome(result.map(|datum| datum.as_str().unwrap_or("NULL").to_owned()));
        if !same(&line[1], &actual) {
            differences.push(format!("{} {:?}: expected {:?}, found {actual:?}", line[0], &line[2..], line[1]));
        }
    }
    check(differences);
}

#[test]
fn literals_of_no_type_take_the_type_that_is_wanted() {
    let result = |name: &str, types: &[PgType]| resolve(name, types).map(|function| function.result);
    assert_eq!(result("length", &[PgType::Unknown]), Ok(PgType::Int4));
    assert_eq!(result("date_trunc", &[PgType::Unknown, PgType::Unknown]), Ok(PgType::TimestampTz));
    assert_eq!(result("round", &[PgType::Int4]), Ok(PgType::Float8));
    assert_eq!(result("greatest", &[PgType::Int4, PgType::Numeric]), Ok(PgType::Numeric));
    assert_eq!(result("array_append", &[PgType::Int4Array, PgType::Unknown]), Ok(PgType::Int4Array));
    assert_eq!(result("nothing", &[]).expect_err("no such function").code, "42883");
}

/// The single value of a query.
fn query(sql: &str) -> Datum {
    let session = SessionContext::new();
    let context = context();
    functions(&context).into_iter().for_each(|function| session.register_udf(function.as_ref().clone()));
    aggregates(&context).into_iter().for_each(|aggregate| session.register_udaf(aggregate.as_ref().clone()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let batches = runtime.block_on(async { session.sql(sql).await?.collect().await }).expect(sql);
    let batch = batches.iter().find(|batch| batch.num_rows() > 0).expect("a row");
    let (ty, _) = crate::arrow::type_of(batch.schema().field(0));
    datum_at(ty, batch.column(0), 0).expect("a value")
}

#[test]
fn the_engine_calls_them() {
    assert_eq!(query("SELECT upper('a')"), Datum::from("A"));
    assert_eq!(query("SELECT split_part(c, ',', CAST(2 AS INT)) FROM (VALUES ('a,b')) t(c)"), Datum::from("b"));
    let sum = |sql: &str| match query(sql) {
        Datum::Numeric(value) => value.to_string(),
        other => format!("{other:?}"),
    };
    assert_eq!(sum("SELECT sum(x) FROM (VALUES (1), (2), (NULL)) t(x)"), "3");
    assert_eq!(sum("SELECT avg(x) FROM (VALUES (1), (2)) t(x)"), "1.5000000000000000");
    assert_eq!(sum("SELECT variance(x) FROM (VALUES (1), (2), (4)) t(x)"), "2.3333333333333333");
    assert_eq!(sum("SELECT sum(DISTINCT x) FROM (VALUES (1), (1), (4)) t(x)"), "5");
    assert_eq!(query("SELECT string_agg(x, '-' ORDER BY x DESC) FROM (VALUES ('a'), ('b')) t(x)"), Datum::from("b-a"));
    assert_eq!(query("SELECT max(x) FROM (VALUES ('a'), ('b')) t(x)"), Datum::from("b"));
    assert_eq!(query("SELECT bool_and(x) FROM (VALUES (true), (false)) t(x)"), Datum::Bool(false));
    let array = Datum::array(PgType::Int8, vec![Datum::Int8(1), Datum::Null]);
    assert_eq!(query("SELECT array_agg(x) FROM (VALUES (1), (NULL)) t(x)"), array);
    assert_eq!(query("SELECT jsonb_agg(x) FROM (VALUES (1), (NULL)) t(x)"), Datum::Jsonb("[1, null]".into()));
}
