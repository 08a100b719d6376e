//! Sessions against each other on one range: what is retried behind the client's back, what is cancelled, what is waited for.
#![allow(missing_docs)]

use std::time::Duration;

use sql::types::Datum;
use sql::{CancelToken, SessionParams, SqlNode, SqlSettings, TransactionStatus};

mod support;

use support::{in_runtime, run, run_until, session};

async fn node() -> SqlNode {
    support::nodes(1, 13, SqlSettings::default()).await.remove(0)
}

#[test]
fn strangers_and_wrong_databases_are_refused() {
    in_runtime(async {
        let node = node().await;
        for (user, database, refusal) in [
            ("bob", "postgres", Some(("28000", "role \"bob\" does not exist"))),
            ("root", "nowhere", Some(("3D000", "database \"nowhere\" does not exist"))),
            ("root", "defaultdb", None),
        ] {
            let params = SessionParams { user: user.into(), database: database.into(), ..SessionParams::default() };
            let refused = node.open_session(params).await.err();
            let words = refused.as_ref().map(|error| (error.code, error.message.as_str()));
            assert_eq!(words, refusal, "{user} at {database}");
        }
    });
}

#[test]
fn single_statements_of_many_sessions_never_fail_for_a_conflict() {
    in_runtime(async {
        let node = node().await;
        let mut first = session(&node).await;
        run(&mut first, "CREATE TABLE t (id int PRIMARY KEY, n int)").await.expect("created");
        run(&mut first, "INSERT INTO t VALUES (1, 0), (2, 0)").await.expect("inserted");
        let clients = (0..8).map(|client: usize| {
            let node = node.clone();
            async move {
                let mut own = session(&node).await;
                for _ in 0..10 {
                    // It reads one row to write the other: without a retry, somebody fails.
                    let (read, written) = if client.is_multiple_of(2) { (1, 2) } else { (2, 1) };
                    let text = format!(
                        "UPDATE t SET n = n + 1 + 0 * (SELECT n FROM t WHERE id = {read}) WHERE id = {written}"
                    );
                    run(&mut own, &text).await.expect("conflicts are retried");
                }
            }
        });
        futures::future::join_all(clients).await;
        let rows = run(&mut first, "SELECT sum(n) FROM t").await.expect("read");
        assert_eq!(rows, [[Datum::Int8(80)]], "no update is lost, and none happens twice");
    });
}

#[test]
fn a_conflict_after_rows_were_sent_is_told_and_the_transaction_ends() {
    in_runtime(async {
        let node = node().await;
        let (mut a, mut b) = (session(&node).await, session(&node).await);
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, n int)").await.expect("created");
        run(&mut a, "INSERT INTO t VALUES (1, 0)").await.expect("inserted");
        run(&mut a, "BEGIN").await.expect("begun");
        run(&mut a, "SELECT n FROM t").await.expect("read");
        run(&mut b, "UPDATE t SET n = 5").await.expect("written");
        let error = run(&mut a, "UPDATE t SET n = n + 1").await.expect_err("what it read has changed");
        assert_eq!(error.code, "40001");
        assert_eq!(error.message, "restart transaction: a newer version stands where it writes");
        let why = "The transaction has read key (id)=(1) of table \"t\", which was written since.";
        assert_eq!((error.detail.as_deref(), error.table.as_deref()), (Some(why), Some("t")));
        assert_eq!(a.transaction_status(), TransactionStatus::Failed);
        run(&mut a, "ROLLBACK").await.expect("rolled back");
        run(&mut a, "UPDATE t SET n = n + 1").await.expect("it goes on");
        assert_eq!(run(&mut b, "SELECT n FROM t").await.expect("read"), [[Datum::Int4(6)]]);
    });
}

#[test]
fn a_statement_that_waits_is_cancelled_and_the_session_goes_on() {
    in_runtime(async {
        let node = node().await;
        let (mut a, mut b) = (session(&node).await, session(&node).await);
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, n int)").await.expect("created");
        run(&mut a, "INSERT INTO t VALUES (1, 0)").await.expect("inserted");
        run(&mut a, "BEGIN; UPDATE t SET n = 1").await.expect("locked");
        let token = CancelToken::new();
        let waiting = run_until(&mut b, "UPDATE t SET n = 2", &token);
        let cancelling = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            token.cancel();
        };
        let (result, ()) = tokio::join!(waiting, cancelling);
        assert_eq!(result.expect_err("it was cancelled").code, "57014");
        run(&mut a, "COMMIT").await.expect("its holder is not disturbed");
        assert_eq!(run(&mut b, "SELECT n FROM t").await.expect("read"), [[Datum::Int4(1)]]);
        run(&mut b, "UPDATE t SET n = 3").await.expect("its lock request is gone, too");
    });
}

#[test]
fn a_cancelled_statement_of_a_transaction_leaves_nothing_behind() {
    in_runtime(async {
        let node = node().await;
        let mut a = session(&node).await;
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY)").await.expect("created");
        run(&mut a, "BEGIN; INSERT INTO t VALUES (1)").await.expect("inserted");
        run(&mut a, "SAVEPOINT s").await.expect("set");
        let token = CancelToken::new();
        let work = "INSERT INTO t SELECT 2 FROM (SELECT pg_sleep(30) AS x) s WHERE x IS NOT NULL";
        let (result, ()) = tokio::join!(run_until(&mut a, work, &token), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            token.cancel();
        });
        assert_eq!(result.expect_err("it was cancelled").code, "57014");
        assert_eq!(a.transaction_status(), TransactionStatus::Failed);
        run(&mut a, "ROLLBACK TO s; INSERT INTO t VALUES (3); COMMIT").await.expect("it goes on from the savepoint");
        let rows = run(&mut a, "SELECT id FROM t ORDER BY id").await.expect("read");
        assert_eq!(rows, [[Datum::Int4(1)], [Datum::Int4(3)]]);
    });
}

#[test]
fn a_lock_is_waited_for_as_long_as_the_session_says() {
    in_runtime(async {
        let node = node().await;
        let (mut a, mut b) = (session(&node).await, session(&node).await);
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, n int)").await.expect("created");
        run(&mut a, "INSERT INTO t VALUES (1, 0)").await.expect("inserted");
        run(&mut a, "BEGIN; UPDATE t SET n = 1").await.expect("locked");
        run(&mut b, "SET lock_timeout = '40ms'").await.expect("set");
        let error = run(&mut b, "UPDATE t SET n = 2").await.expect_err("it does not wait for long");
        assert_eq!((error.code, &error.message[..]), ("55P03", "canceling statement due to lock timeout"));
        let why =
            "It waited for key (id)=(1) of table \"t\", held by process 0 with the statement \"UPDATE t SET n = 1\".";
        assert_eq!((error.detail.as_deref(), error.table.as_deref()), (Some(why), Some("t")));
        run(&mut b, "SET lock_timeout = 0").await.expect("set");
        let (waited, ended) = tokio::join!(run(&mut b, "UPDATE t SET n = n + 1"), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            run(&mut a, "COMMIT").await
        });
        ended.expect("committed");
        waited.expect("it waits");
        assert_eq!(run(&mut a, "SELECT n FROM t").await.expect("read"), [[Datum::Int4(2)]]);
    });
}

#[test]
fn a_deadlock_names_the_row_and_the_other_statement() {
    in_runtime(async {
        let node = node().await;
        let (mut a, mut b) = (session(&node).await, session(&node).await);
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, n int); CREATE UNIQUE INDEX t_n ON t (n)")
            .await
            .expect("made");
        run(&mut a, "INSERT INTO t VALUES (1, 1), (2, 2)").await.expect("inserted");
        run(&mut a, "BEGIN; UPDATE t SET n = n WHERE id = 1").await.expect("locked");
        run(&mut b, "BEGIN; UPDATE t SET n = n WHERE id = 2").await.expect("locked");
        let (first, second) = ("UPDATE t SET n = 5 WHERE id = 2", "UPDATE t SET n = 6 WHERE id = 1");
        let (left, right) = tokio::join!(
            async {
                let result = run(&mut a, first).await;
                run(&mut a, "ROLLBACK").await.expect("ended");
                result
            },
            async {
                let result = run(&mut b, second).await;
                run(&mut b, "ROLLBACK").await.expect("ended");
                result
            }
        );
        let (error, row, other) = match (left, right) {
            (Err(error), Ok(_)) => (error, 2, second),
            (Ok(_), Err(error)) => (error, 1, first),
            both => panic!("one of them gives way: {both:?}"),
        };
        assert_eq!((error.code, &error.message[..]), ("40P01", "deadlock detected"));
        let why = format!(
            "The transaction waited for key (id)=({row}) of table \"t\", held by process 0 with the statement \"{other}\", which \
             waited for it in turn."
        );
        assert_eq!(error.detail, Some(why));
    });
}

#[test]
fn the_past_is_read_by_the_tables_of_its_time() {
    in_runtime(async {
        let node = node().await;
        let mut a = session(&node).await;
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, n int)").await.expect("created");
        run(&mut a, "INSERT INTO t VALUES (1, 1)").await.expect("inserted");
        let rows = run(&mut a, "SELECT now()::text").await.expect("read");
        let [Datum::Text(then)] = &rows[0][..] else { panic!("a time is a text: {rows:?}") };
        tokio::time::sleep(Duration::from_millis(5)).await;
        run(&mut a, "UPDATE t SET n = 2").await.expect("updated");
        run(&mut a, "ALTER TABLE t ADD COLUMN more int DEFAULT 7").await.expect("altered");
        let past = run(&mut a, &format!("SELECT * FROM t AS OF SYSTEM TIME '{then}'")).await.expect("read");
        assert_eq!(past, [[Datum::Int4(1), Datum::Int4(1)]]);
        let both = format!("BEGIN AS OF SYSTEM TIME '{then}'; SELECT sum(n) FROM t WHERE id > 0");
        assert_eq!(run(&mut a, &both).await.expect("read"), [[Datum::Int8(1)]]);
        run(&mut a, "COMMIT").await.expect("ended");
    });
}
