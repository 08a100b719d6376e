//! What statements and sessions hold is counted: refused with 53200 where it is too much, and given back.
#![allow(missing_docs)]

mod support;

use std::collections::BTreeSet;

use bytes::Bytes;
use sql::types::Datum;
use sql::{CopyIn, ExecuteOptions, Outcome, RowStream, Session, SqlError, SqlNode, SqlSettings, Statement};
use support::{in_runtime, run, session};

/// What a client may hold in any case, and what all of them may hold beyond that.
const FREE_BYTES: usize = 1 << 20;
const POOL_BYTES: usize = 1 << 20;

async fn node() -> SqlNode {
    let settings = SqlSettings { query_memory_bytes: POOL_BYTES, ..SqlSettings::default() };
    support::nodes(1, 23, settings).await.remove(0)
}

/// The statement is refused for what it takes, holds nothing afterwards, and the session goes on.
async fn refused(node: &SqlNode, session: &mut Session, sql: &str) {
    let start: String = sql.chars().take(80).collect();
    let error = run(session, sql).await.expect_err(&start);
    assert_eq!((error.code, error.message.as_str()), ("53200", "out of memory"), "{start}: {error:?}");
    run(session, "ROLLBACK").await.expect("it can always be rolled back");
    assert_eq!(node.held_bytes(), 0, "{start}");
    run(session, "SELECT 1").await.expect("the session goes on");
}

async fn parsed(session: &Session, sql: String) -> Result<Vec<Statement>, SqlError> {
    session.parse_in_time(sql, &ExecuteOptions::default()).await
}

fn list(count: usize, item: impl Fn(usize) -> String) -> String {
    (1..=count).map(item).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_text_takes_what_its_trees_take() {
    in_runtime(async {
        let node = node().await;
        let mut a = session(&node).await;
        refused(&node, &mut a, &format!("SELECT 1 WHERE 1 IN ({})", list(10_000, |n| n.to_string()))).await;
        refused(&node, &mut a, &"SELECT 1;".repeat(1_500)).await;
        refused(&node, &mut a, &format!("SELECT length('{}')", "x".repeat(1_000_000))).await;
        run(&mut a, &format!("SELECT 1 WHERE 1 IN ({})", list(1_000, |n| n.to_string()))).await.expect("little enough");
    });
}

#[test]
fn a_prepared_statement_is_held_until_it_is_closed() {
    in_runtime(async {
        let node = node().await;
        let mut a = session(&node).await;
        let options = ExecuteOptions::default();
        let mut kept = 0;
        let refusal = loop {
            let text = format!("SELECT '{}'", "x".repeat(200_000));
            let statement = match parsed(&a, text).await {
                Ok(mut statements) => statements.remove(0),
                Err(error) => break error,
            };
            let prepared = a.prepare(&statement, &[], &options).await.expect("prepared");
            a.store_prepared(&format!("s{kept}"), prepared).expect("kept");
            kept += 1;
            assert!(kept < 20, "prepared statements grow without bound");
        };
        assert_eq!(refusal.code, "53200");
        assert!(node.held_bytes() > 0);
        (0..kept).for_each(|n| a.close_prepared(&format!("s{n}")));
        assert_eq!(node.held_bytes(), 0);
    });
}

#[test]
fn rows_that_a_statement_keeps_are_counted() {
    in_runtime(async {
        let node = node().await;
        let mut a = session(&node).await;
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, k int, s text)").await.expect("created");
        run(&mut a, "CREATE INDEX ON t (k)").await.expect("created");
        run(&mut a, "CREATE TABLE u (id int PRIMARY KEY)").await.expect("created");
        let rows = "SELECT i, i, repeat('x', 1000) FROM generate_series(1, 3000) AS g(i)";
        run(&mut a, &format!("INSERT INTO t {rows}")).await.expect("3 MB pass through");
        run(&mut a, "INSERT INTO u SELECT i FROM generate_series(1, 3000) AS g(i)").await.expect("inserted");
        // RETURNING's.
        refused(&node, &mut a, "INSERT INTO t SELECT id + 5000, k, s FROM t RETURNING s").await;
        refused(&node, &mut a, "UPDATE t SET k = 7 RETURNING s").await;
        refused(&node, &mut a, "DELETE FROM t RETURNING s").await;
        // Those that are all found before the first is changed.
        refused(&node, &mut a, "UPDATE t SET id = id + 10000").await;
        refused(&node, &mut a, "UPDATE t SET k = k + 1 WHERE k > 0").await;
        refused(&node, &mut a, "UPDATE t SET s = t.s || 'y' FROM u WHERE u.id = t.id").await;
        let count = run(&mut a, "SELECT count(*) FROM t WHERE s LIKE 'x%' AND id = k").await.expect("read");
        assert_eq!(count, [[Datum::Int8(3000)]], "nothing of it was done");
        run(&mut a, "UPDATE t SET k = 7").await.expect("rows that are changed one after the other pass through");
        run(&mut a, "DELETE FROM t").await.expect("likewise");
    });
}

#[test]
fn on_conflict_knows_all_rows_that_the_statement_has_written() {
    in_runtime(async {
        let node = node().await;
        let mut a = session(&node).await;
        run(&mut a, "CREATE TABLE t (id text PRIMARY KEY, n int)").await.expect("created");
        // The same key at both ends of more rows than are handled at a time.
        let twice = "INSERT INTO t SELECT (i % 2999)::text, i FROM generate_series(0, 2999) AS g(i) \
                     ON CONFLICT (id) DO UPDATE SET n = excluded.n";
        let error = run(&mut a, twice).await.expect_err("a row is touched twice");
        assert_eq!(error.code, "21000", "{error:?}");
        let values = list(3_000, |n| format!("('{}', {n})", n % 2999));
        let settings = SqlSettings::default();
        let roomy = support::nodes(1, 24, settings).await.remove(0);
        let mut b = session(&roomy).await;
        run(&mut b, "CREATE TABLE t (id text PRIMARY KEY, n int)").await.expect("created");
        let twice = format!("INSERT INTO t VALUES {values} ON CONFLICT (id) DO UPDATE SET n = excluded.n");
        let error = run(&mut b, &twice).await.expect_err("a row is touched twice");
        assert_eq!(error.code, "21000", "{error:?}");
        let many = "INSERT INTO t SELECT repeat('k', 1000) || i, i FROM generate_series(1, 2500) AS g(i) \
                    ON CONFLICT (id) DO NOTHING";
        refused(&node, &mut a, many).await;
    });
}

#[test]
fn rows_on_their_way_come_in_pieces_and_large_ones_are_counted() {
    in_runtime(async {
        let node = node().await;
        let mut a = session(&node).await;
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, k int, s text)").await.expect("created");
        run(&mut a, "CREATE INDEX ON t (k)").await.expect("created");
        run(&mut a, "INSERT INTO t SELECT i, 1, repeat('x', 8000) FROM generate_series(1, 400) AS g(i)")
            .await
            .expect("3 MB");
        let of = list(400, |n| n.to_string());
        for sql in [
            "SELECT repeat('x', 10000) FROM generate_series(1, 1000)",
            "SELECT s FROM t",
            "SELECT s FROM t WHERE k = 1",
            "SELECT s FROM t WHERE k = 1 LIMIT 300",
            &format!("SELECT s FROM t WHERE id IN ({of})"),
        ] {
            let statement = parsed(&a, sql.to_owned()).await.expect("parsed").remove(0);
            let prepared = a.prepare(&statement, &[], &ExecuteOptions::default()).await.expect("prepared");
            let outcome = a.execute(&prepared, Vec::new(), ExecuteOptions::default()).await.expect(sql);
            let Outcome::Rows { mut rows, .. } = outcome else { panic!("{sql} gives rows") };
            let mut largest = 0;
            while let Some(batch) = rows.next().await.expect(sql) {
                let lengths = batch.iter().map(|row| row[0].as_str().map_or(0, str::len));
                largest = largest.max(lengths.sum());
            }
            assert!((1..=1_200_000).contains(&largest), "{sql}: {largest} bytes at once");
            a.sync().await.expect("ended");
        }
        run(&mut a, "SELECT repeat('x', 500000)").await.expect("it is there three times, which is little enough");
        refused(&node, &mut a, "SELECT repeat('x', 900000)").await;
        run(&mut a, "INSERT INTO t SELECT 1000, 2, repeat('x', 450000)").await.expect("inserted");
        run(&mut a, "UPDATE t SET s = s || s WHERE id = 1000").await.expect("updated");
        refused(&node, &mut a, "SELECT s FROM t WHERE id = 1000").await;
        refused(&node, &mut a, "SELECT s FROM t WHERE k = 2").await;
    });
}

#[test]
fn writes_of_open_transactions_find_room_in_the_ranges() {
    in_runtime(async {
        let node = node().await;
        let mut a = session(&node).await;
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, s text)").await.expect("created");
        let mut open = Vec::new();
        for n in 0..5 {
            let mut one = session(&node).await;
            let rows = format!("SELECT i, repeat('x', 100000) FROM generate_series({n}1, {n}9) AS g(i)");
            run(
                &mut one,
                &format!("BEGIN; INSERT INTO t {rows}; INSERT INTO t SELECT id + 100, s FROM t WHERE id >= {n}0 AND id <= {n}9"),
            )
            .await
            .expect("1.8 MB, of which a client may hold one");
            assert!(node.held_bytes() <= POOL_BYTES);
            open.push(one);
        }
        assert!(node.held_bytes() > 0);
        for mut one in open {
            run(&mut one, "COMMIT").await.expect("committed");
        }
        assert_eq!(node.held_bytes(), 0);
        let count = run(&mut a, "SELECT count(*) FROM t").await.expect("read");
        assert_eq!(count, [[Datum::Int8(90)]]);
    });
}

#[test]
fn what_a_session_sets_is_counted() {
    in_runtime(async {
        let node = node().await;
        let mut a = session(&node).await;
        let value = "x".repeat(100_000);
        let mut refusals = (0..30).map(|number| format!("SET my.v{number} = '{value}'"));
        let error = loop {
            let set = refusals.next().expect("settings grow without bound");
            if let Err(error) = run(&mut a, &set).await {
                break error;
            }
        };
        assert_eq!(error.code, "53200");
        assert!(node.held_bytes() > 0);
        drop(a);
        assert_eq!(node.held_bytes(), 0);
        let mut a = session(&node).await;
        run(&mut a, "BEGIN").await.expect("begun");
        let savepoint = format!("SAVEPOINT s{}", "x".repeat(10_000));
        let mut savepoints = 0;
        let error = loop {
            if let Err(error) = run(&mut a, &savepoint).await {
                break error;
            }
            savepoints += 1;
            assert!(savepoints < 500, "savepoints grow without bound");
        };
        assert_eq!(error.code, "53200");
        run(&mut a, "ROLLBACK").await.expect("rolled back");
        drop(a);
        assert_eq!(node.held_bytes(), 0);
    });
}

async fn copy(session: &mut Session, sql: &str) -> Outcome {
    let statement = parsed(session, sql.to_owned()).await.expect("parsed").remove(0);
    let prepared = session.prepare(&statement, &[], &ExecuteOptions::default()).await.expect("prepared");
    session.execute(&prepared, Vec::new(), ExecuteOptions::default()).await.expect("executed")
}

async fn copy_in(session: &mut Session, sql: &str) -> CopyIn {
    match copy(session, sql).await {
        Outcome::CopyIn(copy) => *copy,
        other => panic!("{sql} came to {other:?}"),
    }
}

#[test]
fn copy_holds_a_line_and_no_more() {
    in_runtime(async {
        let node = node().await;
        let mut a = session(&node).await;
        run(&mut a, "CREATE TABLE t (s text)").await.expect("created");
        let mut lines = copy_in(&mut a, "COPY t FROM STDIN").await;
        let line = Bytes::from("x".repeat(99_999) + "\n");
        for _ in 0..50 {
            lines.write(line.clone()).await.expect("5 MB pass through");
        }
        let many = Bytes::from("1\n".repeat(50_000));
        lines.write(many).await.expect("a chunk is cut row by row");
        assert_eq!(lines.finish().await.expect("finished"), "COPY 50050");
        a.sync().await.expect("committed");
        assert_eq!(node.held_bytes(), 0);
        let mut endless = copy_in(&mut a, "COPY t FROM STDIN").await;
        let piece = Bytes::from("x".repeat(100_000));
        let mut taken = 0;
        let error = loop {
            match endless.write(piece.clone()).await {
                Ok(()) => taken += piece.len(),
                Err(error) => break error,
            }
            assert!(taken < 2 * (FREE_BYTES + POOL_BYTES), "a line grows without bound");
        };
        assert_eq!(error.code, "53200");
        drop(endless);
        a.fail().await;
        assert_eq!(node.held_bytes(), 0);
    });
}

#[test]
fn copy_out_sends_pieces_and_counts_rows() {
    in_runtime(async {
        let node = node().await;
        let mut a = session(&node).await;
        let sql = "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 5000)) TO STDOUT";
        let Outcome::CopyOut { mut data, .. } = copy(&mut a, sql).await else { panic!("it gives data") };
        let (mut rows, mut sizes) = (0, BTreeSet::new());
        while let Some(chunk) = data.next().await.expect("it goes on") {
            rows += chunk.rows;
            assert_eq!(chunk.lines.len() as u64, chunk.rows, "a message a row");
            sizes.insert(chunk.lines.iter().map(|line| line.len()).sum::<usize>());
        }
        assert_eq!(rows, 5_000);
        assert!(sizes.last().is_some_and(|largest| *largest <= 70_000), "{sizes:?}");
        drop(data);
        a.sync().await.expect("ended");
        let sql = "COPY (SELECT repeat('x', 900000)) TO STDOUT";
        let statement = parsed(&a, sql.to_owned()).await.expect("parsed").remove(0);
        let prepared = a.prepare(&statement, &[], &ExecuteOptions::default()).await.expect("prepared");
        let error = a.execute(&prepared, Vec::new(), ExecuteOptions::default()).await.expect_err("too much");
        assert_eq!(error.code, "53200");
    });
}

/// A query that holds all rows of one side of a join, as it waits for its client to take the next ones.
async fn holding(node: &SqlNode, rows: usize) -> Result<(Session, RowStream), SqlError> {
    let mut session = session(node).await;
    let side = format!("(SELECT repeat('x', 50) AS x FROM generate_series(1, {rows}))");
    let text = format!("SELECT g.x FROM {side} AS g CROSS JOIN {side} AS h");
    let statement = parsed(&session, text).await?.remove(0);
    let prepared = session.prepare(&statement, &[], &ExecuteOptions::default()).await?;
    let outcome = session.execute(&prepared, Vec::new(), ExecuteOptions::default()).await?;
    let Outcome::Rows { mut rows, .. } = outcome else { panic!("it gives rows") };
    rows.next().await?;
    Ok((session, rows))
}

#[test]
fn a_query_that_takes_what_it_can_get_leaves_room_for_small_ones() {
    in_runtime(async {
        let settings = SqlSettings { query_memory_bytes: 16 << 20, ..SqlSettings::default() };
        let tasks = clock::Tasks::on(tokio::runtime::Handle::current());
        let node = support::nodes_on(1, 25, settings, tasks.clone(), tasks).await.remove(0);
        let (mut fits, mut refused) = (0, 500_000);
        while refused - fits > 5_000 {
            let rows = (fits + refused) / 2;
            match holding(&node, rows).await {
                Ok(_) => fits = rows,
                Err(error) => {
                    assert_eq!(error.code, "53200", "{error:?}");
                    refused = rows;
                }
            }
            // What ran apart lets go once it has heard that it may.
            while node.held_bytes() > 0 {
                tokio::task::yield_now().await;
            }
        }
        let _hog = holding(&node, fits).await.expect("as many rows as there is room for");
        let mut small = session(&node).await;
        let sorted = run(&mut small, "SELECT x FROM generate_series(1, 1000) AS g(x) ORDER BY -x").await;
        assert_eq!(sorted.map(|rows| rows.len()), Ok(1000), "beside {} bytes", node.held_bytes());
    });
}
