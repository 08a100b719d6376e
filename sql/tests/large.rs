//! Much in one row, one statement, one transaction: it works, or is refused before anything of it is there.
#![allow(missing_docs)]

use sql::types::Datum;
use sql::{SqlNode, SqlSettings};

mod support;

use support::{in_runtime, run, session};

async fn node() -> SqlNode {
    support::nodes(1, 19, SqlSettings::default()).await.remove(0)
}

/// A literal of so many letters.
fn text(letter: &str, length: usize) -> String {
    format!("'{}'", letter.repeat(length))
}

#[test]
fn a_transaction_may_write_more_than_one_command_holds() {
    in_runtime(async {
        let node = node().await;
        let mut a = session(&node).await;
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, s text)").await.expect("created");
        run(&mut a, "INSERT INTO t SELECT i, repeat('x', 1000000) FROM generate_series(1, 60) AS g(i)")
            .await
            .expect("60 MB in one statement");
        let update = format!("BEGIN; UPDATE t SET s = {} WHERE id <= 50", text("y", 1_000_000));
        run(&mut a, &update).await.expect("updated");
        run(&mut a, "DELETE FROM t WHERE id > 50; COMMIT").await.expect("50 MB in one transaction");
        let rows = run(&mut a, "SELECT count(*), sum(length(s)) FROM t WHERE s LIKE 'y%'").await.expect("read");
        assert_eq!(rows, [[Datum::Int8(50), Datum::Int8(50_000_000)]]);
        let of = (1..=40).map(|id: u32| id.to_string()).collect::<Vec<_>>().join(", ");
        let rows = run(&mut a, &format!("SELECT s FROM t WHERE id IN ({of})")).await.expect("40 MB by their keys");
        assert_eq!(rows.len(), 40);
    });
}

#[test]
fn what_is_too_large_for_a_row_is_refused_as_that() {
    in_runtime(async {
        let node = node().await;
        let mut a = session(&node).await;
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, s text)").await.expect("created");
        for before in ["", "BEGIN; "] {
            let insert = format!("{before}INSERT INTO t VALUES (1, {})", text("x", 40_000_000));
            let error = run(&mut a, &insert).await.expect_err("the row is too large");
            assert_eq!(error.code, "54000", "{error:?}");
            run(&mut a, "ROLLBACK").await.expect("ended");
        }
        // Each version fits, and both together, which the transaction may have to go back between, do not.
        let insert = format!("INSERT INTO t VALUES (1, {})", text("x", 30_000_000));
        let update = format!("UPDATE t SET s = {}", text("y", 30_000_000));
        run(&mut a, &format!("BEGIN; {insert}")).await.expect("inserted");
        let error = run(&mut a, &format!("{update}; COMMIT")).await.expect_err("too much for a row");
        assert_eq!(error.code, "54000", "{error:?}");
        run(&mut a, "ROLLBACK").await.expect("ended");
        run(&mut a, &insert).await.expect("it is as if nothing was tried");
        run(&mut a, &update).await.expect("one version after the other");
        let rows = run(&mut a, "SELECT length(s) FROM t").await.expect("read");
        assert_eq!(rows, [[Datum::Int4(30_000_000)]]);
    });
}
