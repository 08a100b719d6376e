//! Two gateways on one range: what one of them alters, the other never uses as it was.
#![allow(missing_docs)]

use std::time::Duration;

use sql::types::Datum;
use sql::{SqlError, SqlNode, SqlSettings};

mod support;

use support::{in_runtime, run, session};

async fn nodes() -> (SqlNode, SqlNode) {
    let settings = SqlSettings { catalog_lease_ms: 400, catalog_poll_ms: 20, ..SqlSettings::default() };
    let mut nodes = support::nodes(2, 11, settings).await;
    (nodes.remove(0), nodes.remove(0))
}

#[test]
fn what_one_node_creates_alters_and_drops_the_other_sees() {
    in_runtime(async {
        let (one, two) = nodes().await;
        let (mut a, mut b) = (session(&one).await, session(&two).await);
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, n int)").await.expect("created");
        run(&mut b, "INSERT INTO t VALUES (1, 1), (2, 2)").await.expect("the table is known at once");
        run(&mut a, "ALTER TABLE t ADD COLUMN m int DEFAULT 5").await.expect("altered");
        run(&mut b, "INSERT INTO t (id, n) VALUES (3, 3)").await.expect("inserted");
        let rows = run(&mut a, "SELECT id, m FROM t").await.expect("read");
        assert_eq!(rows.len(), 3);
        assert!(rows.iter().all(|row| row[1] == Datum::Int4(5)), "no row misses the default: {rows:?}");
        run(&mut b, "CREATE UNIQUE INDEX t_n ON t (n)").await.expect("indexed");
        let error = run(&mut a, "INSERT INTO t VALUES (4, 3)").await.expect_err("the index is kept");
        assert_eq!(error.code, "23505");
        run(&mut a, "DROP TABLE t").await.expect("dropped");
        let error = run(&mut b, "SELECT * FROM t").await.expect_err("it is gone");
        assert_eq!(error.code, "42P01");
    });
}

#[test]
fn a_table_in_use_is_not_altered_under_its_user() {
    in_runtime(async {
        let (one, two) = nodes().await;
        let (mut a, mut b) = (session(&one).await, session(&two).await);
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, n int)").await.expect("created");
        run(&mut b, "BEGIN; INSERT INTO t VALUES (1, 1)").await.expect("inserted");
        let alter = async {
            run(&mut a, "TRUNCATE t").await.expect("truncated, once it may be");
            a
        };
        let use_it = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            run(&mut b, "INSERT INTO t VALUES (2, 2); COMMIT").await.expect("the user goes on unharmed");
            b
        };
        let (mut a, mut b) = tokio::join!(alter, use_it);
        assert_eq!(run(&mut a, "SELECT * FROM t").await.expect("read").len(), 0);
        assert_eq!(run(&mut b, "SELECT * FROM t").await.expect("read").len(), 0);
    });
}

#[test]
fn a_dead_node_blocks_nobody_for_long() {
    in_runtime(async {
        let (one, two) = nodes().await;
        let (mut a, mut b) = (session(&one).await, session(&two).await);
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY)").await.expect("created");
        run(&mut b, "INSERT INTO t VALUES (1)").await.expect("inserted");
        b.close().await;
        drop(two);
        run(&mut a, "ALTER TABLE t ADD COLUMN n int").await.expect("its lease runs out");
    });
}

#[test]
fn two_nodes_do_not_create_one_name_twice() {
    in_runtime(async {
        let (one, two) = nodes().await;
        let (mut a, mut b) = (session(&one).await, session(&two).await);
        let text = "CREATE TABLE t (id int PRIMARY KEY)";
        let (left, right) = tokio::join!(run(&mut a, text), run(&mut b, text));
        let errors: Vec<SqlError> = [left, right].into_iter().filter_map(Result::err).collect();
        assert_eq!(errors.len(), 1, "exactly one of them wins: {errors:?}");
        assert_eq!(errors[0].code, "42P07");
    });
}

#[test]
fn a_table_whose_past_is_read_is_not_cleared_under_its_reader() {
    in_runtime(async {
        let (one, two) = nodes().await;
        let (mut a, mut b, mut c) = (session(&one).await, session(&two).await, session(&two).await);
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await.expect("made");
        tokio::time::sleep(Duration::from_millis(50)).await;
        for reader in [&mut b, &mut c] {
            run(reader, "BEGIN AS OF SYSTEM TIME '-10ms'").await.expect("begun");
        }
        assert_eq!(run(&mut b, "SELECT id FROM t").await.expect("read").len(), 2);
        let truncate = async { run(&mut a, "TRUNCATE t").await.expect("truncated, once it may be") };
        let read_on = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let rows = run(&mut b, "SELECT id FROM t").await.expect("read again");
            run(&mut b, "COMMIT").await.expect("ended");
            rows
        };
        let (_, rows) = tokio::join!(truncate, read_on);
        assert_eq!(rows.len(), 2, "the rows are there for as long as they are read");
        let error = run(&mut c, "SELECT id FROM t").await.expect_err("they are gone for who comes later");
        assert_eq!(error.code, "55000");
    });
}
