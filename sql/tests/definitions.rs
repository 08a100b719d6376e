//! Statements that change the catalog: what is stopped leaves nothing behind, and nobody waits for what is none of his business.
#![allow(missing_docs)]

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use sql::types::Datum;
use sql::{CancelToken, Session, SessionParams, SqlError, SqlNode, SqlSettings};

mod support;

use support::{in_runtime, run, run_until, session};

async fn node() -> SqlNode {
    let settings = SqlSettings { catalog_poll_ms: 20, ddl_wait_ms: 1_000, ..SqlSettings::default() };
    support::nodes(1, 17, settings).await.remove(0)
}

async fn session_in(node: &SqlNode, database: &str) -> Session {
    let params = SessionParams { user: "postgres".into(), database: database.into(), ..SessionParams::default() };
    node.open_session(params).await.expect("the session opens")
}

/// The work, cancelled when it is looked at for the `at`-th time; whether it came to that.
async fn cancelled_at<T>(at: u32, cancel: &CancelToken, work: impl Future<Output = T>) -> (T, bool) {
    let looks = Cell::new(0);
    let mut work = pin!(work);
    let result = std::future::poll_fn(|context| {
        looks.set(looks.get() + 1);
        if looks.get() == at {
            cancel.cancel();
        }
        let polled = work.as_mut().poll(context);
        if polled.is_pending() && looks.get() < at {
            // So that it is looked at often enough, whatever it waits for.
            context.waker().wake_by_ref();
        }
        polled
    });
    let result = result.await;
    (result, looks.get() >= at)
}

/// The work, dropped when it is looked at for the `at`-th time; whether it came to that.
async fn gone_at<T>(at: u32, work: impl Future<Output = Result<T, SqlError>>) -> (Result<T, SqlError>, bool) {
    let token = CancelToken::new();
    let stopped = async {
        tokio::select! {
            biased;
            () = token.cancelled() => Err(SqlError::new("57014", "gone")),
            result = work => result,
        }
    };
    cancelled_at(at, &token, stopped).await
}

#[test]
fn a_definition_that_is_cancelled_at_any_moment_leaves_its_table_free() {
    in_runtime(async {
        let node = node().await;
        let (mut a, mut b) = (session(&node).await, session(&node).await);
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1)").await.expect("made");
        let mut cancelled = 0;
        for at in (1..40).chain((40..400).step_by(9)) {
            let token = CancelToken::new();
            let work = run_until(&mut a, "CREATE INDEX t_n ON t (n)", &token);
            let (result, came_to_it) = cancelled_at(at, &token, work).await;
            match result {
                Ok(_) => drop(run(&mut a, "DROP INDEX t_n").await.expect("dropped")),
                Err(error) => {
                    assert_eq!(error.code, "57014", "{error:?}");
                    cancelled += 1;
                }
            }
            run(&mut b, "UPDATE t SET n = n + 1").await.unwrap_or_else(|error| panic!("after look {at}: {error:?}"));
            if !came_to_it {
                break;
            }
        }
        assert!(cancelled >= 3, "it is cancelled in several places: {cancelled}");
    });
}

/// Definitions of a table, each with what undoes it.
const DEFINITIONS: [(&str, &str); 9] = [
    ("ALTER TABLE t ADD COLUMN m int DEFAULT 7", "ALTER TABLE t DROP COLUMN m"),
    ("ALTER TABLE t ADD CONSTRAINT positive CHECK (n > 0)", "ALTER TABLE t DROP CONSTRAINT positive"),
    ("ALTER TABLE t ALTER COLUMN n SET NOT NULL", "ALTER TABLE t ALTER COLUMN n DROP NOT NULL"),
    ("ALTER TABLE t ADD CONSTRAINT one UNIQUE (n)", "ALTER TABLE t DROP CONSTRAINT one"),
    ("ALTER TABLE t RENAME COLUMN o TO p", "ALTER TABLE t RENAME COLUMN p TO o"),
    ("TRUNCATE t", "INSERT INTO t SELECT i, i, i FROM generate_series(1, 50) AS g(i)"),
    ("DROP TABLE other", "CREATE TABLE other (id int PRIMARY KEY)"),
    ("CREATE TABLE more (id int PRIMARY KEY)", "DROP TABLE more"),
    ("DROP DATABASE d", "CREATE DATABASE d"),
];

/// Whoever defined something is gone, or stopped, at any moment: others go on, and it can be defined again.
#[test]
fn whatever_is_defined_may_be_stopped_at_any_moment() {
    in_runtime(async {
        let node = node().await;
        let mut b = session(&node).await;
        Box::pin(run(
            &mut b,
            "CREATE TABLE t (id int PRIMARY KEY, n int, o int); CREATE TABLE other (id int PRIMARY KEY)",
        ))
        .await
        .expect("made");
        Box::pin(run(&mut b, "CREATE DATABASE d")).await.expect("made");
        Box::pin(run(&mut b, DEFINITIONS[5].1)).await.expect("filled");
        Box::pin(run(&mut b, "SET lock_timeout = '20s'")).await.expect("set");
        for (definition, undo) in DEFINITIONS {
            let mut stopped = 0;
            for at in (1..16).chain((16..160).step_by(11)) {
                let mut a = session(&node).await;
                let token = CancelToken::new();
                let (result, came_to_it) = if at % 2 == 0 {
                    cancelled_at(at, &token, Box::pin(run_until(&mut a, definition, &token))).await
                } else {
                    Box::pin(gone_at(at, Box::pin(run(&mut a, definition)))).await
                };
                drop(a);
                let after = |what: &str, error| panic!("{definition}, look {at}: {what}: {error:?}");
                Box::pin(run(&mut b, "UPDATE t SET o = o"))
                    .await
                    .or_else(|error| if error.code == "42703" { Ok(vec![]) } else { Err(error) })
                    .unwrap_or_else(|error| after("its table is not free", error));
                // Stopped, it may have been done or not; whatever it was, it can be undone and done.
                match result {
                    Ok(_) => drop(Box::pin(run(&mut b, undo)).await.unwrap_or_else(|error| after("undone", error))),
                    Err(error) => {
                        assert!(error.code == "57014", "{definition}: {error:?}");
                        stopped += 1;
                        if Box::pin(run(&mut b, definition)).await.is_err() {
                            // It was done, though nobody heard of it.
                            Box::pin(run(&mut b, undo)).await.unwrap_or_else(|error| after("undone", error));
                            continue;
                        }
                        Box::pin(run(&mut b, undo)).await.unwrap_or_else(|error| after("undone", error));
                    }
                }
                if !came_to_it {
                    break;
                }
            }
            assert!(stopped >= 2, "{definition} is stopped in several places: {stopped}");
        }
    });
}

#[test]
fn a_definition_that_waits_is_stopped_in_time_and_leaves_its_table_free() {
    in_runtime(async {
        let node = node().await;
        let (mut a, mut b, mut c) = (session(&node).await, session(&node).await, session(&node).await);
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, n int)").await.expect("made");
        run(&mut a, "BEGIN; INSERT INTO t VALUES (1, 1)").await.expect("in use");
        run(&mut b, "SET statement_timeout = '60ms'").await.expect("set");
        let error = run(&mut b, "ALTER TABLE t ADD COLUMN m int").await.expect_err("somebody uses the table");
        assert_eq!(error.code, "57014");
        let token = CancelToken::new();
        let (result, ()) = tokio::join!(run_until(&mut c, "TRUNCATE t", &token), async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            token.cancel();
        });
        assert_eq!(result.expect_err("it was cancelled").code, "57014");
        // Its client goes away without a word.
        let mut d = session(&node).await;
        let left = tokio::time::timeout(Duration::from_millis(60), run(&mut d, "DROP TABLE t")).await;
        assert!(left.is_err(), "somebody uses the table");
        drop(d);
        run(&mut c, "INSERT INTO t VALUES (2, 2)").await.expect("the table is free");
        run(&mut a, "COMMIT").await.expect("its user is not disturbed");
        run(&mut c, "ALTER TABLE t ADD COLUMN m int").await.expect("it can be altered");
    });
}

#[test]
fn a_definition_stopped_behind_a_savepoint_can_be_given_again() {
    in_runtime(async {
        let node = node().await;
        let (mut a, mut b) = (session(&node).await, session(&node).await);
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, n int)").await.expect("made");
        run(&mut b, "BEGIN; INSERT INTO t VALUES (1, 1)").await.expect("in use");
        run(&mut a, "BEGIN; SAVEPOINT s").await.expect("begun");
        let token = CancelToken::new();
        let (result, ()) = tokio::join!(run_until(&mut a, "ALTER TABLE t ADD COLUMN m int", &token), async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            token.cancel();
        });
        assert_eq!(result.expect_err("it was cancelled").code, "57014");
        run(&mut b, "COMMIT").await.expect("committed");
        run(&mut a, "ROLLBACK TO s; ALTER TABLE t ADD COLUMN m int DEFAULT 7").await.expect("altered");
        // What removes the first lock late does not remove the second.
        let (written, ()) = tokio::join!(run(&mut b, "INSERT INTO t (id, n) VALUES (2, 2)"), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            run(&mut a, "COMMIT").await.expect("committed");
        });
        written.expect("it waits until the table is altered");
        let rows = run(&mut a, "SELECT count(*) FROM t WHERE m = 7").await.expect("read");
        assert_eq!(rows, [[Datum::Int8(2)]]);
    });
}

#[test]
fn a_definition_waits_for_as_long_as_the_session_says() {
    in_runtime(async {
        let node = node().await;
        let (mut a, mut b, mut c) = (session(&node).await, session(&node).await, session(&node).await);
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, n int)").await.expect("made");
        run(&mut a, "BEGIN; INSERT INTO t VALUES (1, 1)").await.expect("in use");
        run(&mut b, "SET lock_timeout = '50ms'").await.expect("set");
        let error = run(&mut b, "ALTER TABLE t ADD COLUMN m int").await.expect_err("somebody uses the table");
        assert_eq!((error.code, &error.message[..]), ("55P03", "canceling statement due to lock timeout"));
        // Longer than without a limit.
        run(&mut b, "SET lock_timeout = '1min'").await.expect("set");
        let (altered, ()) = tokio::join!(run(&mut b, "ALTER TABLE t ADD COLUMN m int"), async {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            run(&mut a, "COMMIT").await.expect("committed");
        });
        altered.expect("it waits for longer than it would by itself");
        // Behind a definition, and behind the guard of the database.
        run(&mut a, "BEGIN; ALTER TABLE t ADD COLUMN o int").await.expect("altered");
        run(&mut b, "SET lock_timeout = '50ms'").await.expect("set");
        for text in ["SELECT * FROM t", "DROP TABLE t", "CREATE TABLE other (id int)"] {
            let error = run(&mut b, text).await.expect_err("somebody alters the table");
            assert_eq!(
                (error.code, &error.message[..]),
                ("55P03", "canceling statement due to lock timeout"),
                "{text}"
            );
        }
        run(&mut c, "SET statement_timeout = '50ms'").await.expect("set");
        for text in ["SELECT * FROM t", "DROP TABLE t", "CREATE TABLE other (id int)"] {
            let error = run(&mut c, text).await.expect_err("somebody alters the table");
            assert_eq!(error.code, "57014", "{text}");
        }
    });
}

#[test]
fn definitions_in_different_databases_do_not_disturb_each_other() {
    in_runtime(async {
        let node = node().await;
        let mut first = session(&node).await;
        for database in 0..6 {
            run(&mut first, &format!("CREATE DATABASE d{database}")).await.expect("created");
        }
        let definitions = (0..6).map(|database| {
            let node = node.clone();
            async move {
                let mut own = session_in(&node, &format!("d{database}")).await;
                let mut failed = Vec::new();
                for round in 0..10 {
                    let text = [
                        format!("BEGIN; CREATE TABLE t{round} (id int PRIMARY KEY, n int)"),
                        format!("INSERT INTO t{round} VALUES (1, 1)"),
                        format!("ALTER TABLE t{round} ADD COLUMN m int"),
                        "COMMIT".to_owned(),
                        format!("CREATE INDEX ON t{round} (n)"),
                    ];
                    for text in text {
                        failed.extend(run(&mut own, &text).await.err());
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                }
                failed
            }
        });
        let failed: Vec<_> = futures::future::join_all(definitions).await.into_iter().flatten().collect();
        assert!(failed.is_empty(), "{} failed, such as {:?}", failed.len(), failed[0]);
    });
}

#[test]
fn an_open_definition_in_one_database_keeps_nobody_in_another_waiting() {
    in_runtime(async {
        let node = node().await;
        let mut a = session(&node).await;
        run(&mut a, "CREATE DATABASE other").await.expect("created");
        run(&mut a, "BEGIN; CREATE TABLE t (id int PRIMARY KEY)").await.expect("created");
        let mut b = session_in(&node, "other").await;
        run(&mut b, "SET statement_timeout = '5s'").await.expect("set");
        for text in ["CREATE TABLE t (id int)", "CREATE SCHEMA s", "ALTER TABLE t ADD COLUMN n int", "DROP TABLE t"] {
            run(&mut b, text).await.unwrap_or_else(|error| panic!("{text}: {error:?}"));
        }
        run(&mut a, "COMMIT").await.expect("committed");
        // A database that is dropped takes nothing new.
        run(&mut b, "BEGIN; CREATE TABLE u (id int PRIMARY KEY)").await.expect("created");
        let (dropped, ()) = tokio::join!(run(&mut a, "DROP DATABASE other"), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            run(&mut b, "COMMIT").await.expect("committed");
        });
        dropped.expect("dropped");
        let error = run(&mut b, "CREATE TABLE v (id int)").await.expect_err("the database is gone");
        assert_eq!(error.code, "3F000");
    });
}
