//! Statements that panic: each is an error of its own, its session goes on, and nothing of it stays locked.
#![allow(missing_docs)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use clock::Tasks;
use kv::api::{BatchRequest, BatchResponse, KvError, RequestKind, Sender};
use parking_lot::Mutex;
use sql::{ExecuteOptions, Session, SqlSettings};
use support::{nodes_behind, run, session};

/// What is sent to the range when it panics, once.
type Fuse = Arc<Mutex<Option<Fused>>>;
type Fused = fn(&RequestKind) -> bool;

struct Panicking {
    range: Arc<dyn Sender>,
    fuse: Fuse,
}

#[async_trait]
impl Sender for Panicking {
    async fn send(&self, batch: BatchRequest) -> Result<BatchResponse, KvError> {
        let blows = |fuse: &mut Fused| batch.requests.iter().filter_map(|request| request.kind.as_ref()).any(fuse);
        let blown = self.fuse.lock().take_if(blows).is_some();
        assert!(!blown, "the fuse is blown");
        self.range.send(batch).await
    }
}

/// Tests of this file take turns: what panics is the process's.
static TURN: Mutex<()> = Mutex::new(());
/// Planning panics when it has looked whether to go on so often; never, when that is none.
static LOOKS_LEFT: AtomicU64 = AtomicU64::new(u64::MAX);

/// Stands for what says how much a thread holds, which is asked at each such look.
fn panicking_meter() -> i64 {
    let left = LOOKS_LEFT.load(Ordering::Relaxed);
    if left != u64::MAX {
        LOOKS_LEFT.store(left.checked_sub(1).unwrap_or(u64::MAX), Ordering::Relaxed);
        assert!(left > 0, "the meter is broken");
    }
    0
}

fn is_scan(kind: &RequestKind) -> bool {
    matches!(kind, RequestKind::Scan(_))
}

fn is_get(kind: &RequestKind) -> bool {
    matches!(kind, RequestKind::Get(_))
}

fn is_put(kind: &RequestKind) -> bool {
    matches!(kind, RequestKind::Put(_))
}

fn is_delete(kind: &RequestKind) -> bool {
    matches!(kind, RequestKind::Delete(_))
}

fn is_commit(kind: &RequestKind) -> bool {
    matches!(kind, RequestKind::EndTxn(end) if end.commit)
}

/// Runs a statement that panics when the range is sent that; the error it ends with.
async fn panics(session: &mut Session, fuse: &Fuse, when: Fused, text: &str) -> &'static str {
    *fuse.lock() = Some(when);
    let error = run(session, text).await.expect_err(text);
    assert!(fuse.lock().take().is_none(), "{text}: nothing panicked, but {error}");
    error.code
}

#[test]
fn a_panic_is_an_error_of_its_statement() {
    let _turn = TURN.lock();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("threads start").block_on(async {
        let fuse = Fuse::default();
        let tasks = Tasks::on(tokio::runtime::Handle::current());
        let between = |range| -> Arc<dyn Sender> { Arc::new(Panicking { range, fuse: fuse.clone() }) };
        let nodes = nodes_behind(1, 31, SqlSettings::default(), tasks.clone(), tasks, between).await;
        let (mut one, mut other) = (session(&nodes[0]).await, session(&nodes[0]).await);
        let table = "CREATE TABLE t (a int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0), (2, 0)";
        run(&mut one, table).await.expect("the table is made");
        run(&mut other, "SET lock_timeout = '20s'").await.expect("it is set");

        // A statement by itself may write as it commits, and of that it is not known whether it has happened.
        let (ended, unknown): (&[&str], &[&str]) = (&["XX000"], &["XX000", "40003"]);
        let by_query = "UPDATE t SET n = t.n + 1 FROM generate_series(1, 2) AS g(x) WHERE x = a";
        let block = "BEGIN; UPDATE t SET n = n + 1; UPDATE t SET n = n + 1; COMMIT";
        let cases: [(&str, Fused, &str, &[&str]); 7] = [
            ("a read by key", is_get, "SELECT * FROM t WHERE a = 1", ended),
            ("a query, apart", is_scan, "SELECT count(*) FROM t", ended),
            ("an insert", is_put, "INSERT INTO t VALUES (3, 0)", unknown),
            ("an update by key", is_put, "UPDATE t SET n = n + 1 WHERE a = 1", unknown),
            ("an update by a query", is_put, by_query, unknown),
            ("a delete", is_delete, "DELETE FROM t", unknown),
            ("a commit", is_commit, block, &["40003"]),
        ];
        for (name, when, text, codes) in cases {
            let panicked = panics(&mut one, &fuse, when, text).await;
            assert!(codes.contains(&panicked), "{name}: {panicked}");
            let _ = run(&mut one, "ROLLBACK").await;
            let rows = run(&mut one, "SELECT a, n FROM t ORDER BY a").await.expect(name);
            assert_eq!(rows.len(), 2, "{name}: nothing of it happened");
            run(&mut other, "UPDATE t SET n = 0; ALTER TABLE t ADD COLUMN x int; ALTER TABLE t DROP COLUMN x")
                .await
                .unwrap_or_else(|error| panic!("{name} left something locked: {error}"));
        }

        // In a block, what was done before is rolled back too.
        run(&mut one, "BEGIN; UPDATE t SET n = 7 WHERE a = 1").await.expect("it is changed");
        assert_eq!(panics(&mut one, &fuse, is_scan, "SELECT count(*) FROM t").await, "XX000");
        assert_eq!(run(&mut one, "SELECT 1").await.expect_err("the block has failed").code, "25P02");
        run(&mut other, "UPDATE t SET n = n + 1 WHERE a = 1").await.expect("nothing is locked");
        run(&mut one, "ROLLBACK").await.expect("it ends");

        // A table that is locked is unlocked.
        let panicked = panics(&mut one, &fuse, is_commit, "ALTER TABLE t ADD COLUMN y int").await;
        assert!(unknown.contains(&panicked), "{panicked}");
        let altered = "ALTER TABLE t ADD COLUMN z int; INSERT INTO t (a, n) VALUES (9, 9)";
        run(&mut other, altered).await.expect("nor is the table");
    });
}

#[test]
fn a_panic_while_planning_is_an_error_of_its_statement() {
    let _turn = TURN.lock();
    sql::install_meter(panicking_meter);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("threads start").block_on(async {
        let tasks = Tasks::on(tokio::runtime::Handle::current());
        let node = support::nodes_on(1, 33, SqlSettings::default(), tasks.clone(), tasks).await.remove(0);
        let (mut one, mut other) = (session(&node).await, session(&node).await);
        run(&mut one, "CREATE TABLE t (a int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 5)").await.expect("made");
        let text = "SELECT max(u.n) + 1 FROM t JOIN t AS u ON u.a = t.a WHERE t.n + 1 > 3 GROUP BY t.n ORDER BY 1";
        let mut panicked = 0;
        // At the first look, at one somewhat later, and so on, until there are no more.
        for looks in (0..).step_by(20) {
            let statement = one.parse(text).expect("parsed").remove(0);
            run(&mut one, "BEGIN").await.expect("begun");
            LOOKS_LEFT.store(looks, Ordering::Relaxed);
            let prepared = one.prepare(&statement, &[], &ExecuteOptions::default()).await;
            let is_planned = LOOKS_LEFT.swap(u64::MAX, Ordering::Relaxed) != u64::MAX;
            match prepared {
                Ok(_) => assert!(is_planned, "a panic at look {looks} is lost"),
                Err(error) => {
                    assert_eq!((error.code, error.message.as_str()), ("XX000", "internal error"), "look {looks}")
                }
            }
            if is_planned {
                break;
            }
            panicked += 1;
            one.fail().await;
            assert_eq!(run(&mut one, "SELECT 1").await.expect_err("the block has failed").code, "25P02");
            run(&mut one, "ROLLBACK").await.expect("it ends");
        }
        assert!(panicked > 3, "planning looked {panicked} times");
        run(&mut one, "ROLLBACK").await.expect("it ends");
        assert_eq!(run(&mut one, text).await.expect("the session goes on").len(), 1);
        run(&mut other, "ALTER TABLE t ADD COLUMN x int").await.expect("nothing is locked");
        drop((one, other));
        assert_eq!(node.held_bytes(), 0);
    });
}
