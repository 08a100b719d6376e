//! Statements that compute for long are stopped wherever they are, and leave nothing running.

mod support;

use std::time::Duration;

use clock::Tasks;
use sql::{CancelToken, SqlSettings};
use support::{nodes_on, run, run_until, session};

/// Far more than any machine needs to stop, far less than any of the statements takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Each of them would compute for minutes or hours.
const ENDLESS: [&str; 7] = [
    // A join that finds no pair.
    "SELECT count(*) FROM generate_series(1,100000) a(x), generate_series(1,100000) b(y) WHERE x::text || y::text LIKE '%z%'",
    "SELECT count(*) FROM generate_series(1,100000) a(x) JOIN generate_series(1,100000) b(y) ON x < y - 200000",
    "SELECT count(*) FROM generate_series(1,200000) a(x) JOIN generate_series(1,200000) b(y) ON x % 2 = y % 2 AND x + y < 0",
    // Operators that take all of their input first.
    "SELECT x FROM generate_series(1,100000) a(x), generate_series(1,100000) b(y) ORDER BY x * y DESC LIMIT 1",
    "SELECT sum(x * y) FROM generate_series(1,1000000) a(x), generate_series(1,1000000) b(y)",
    "SELECT sum(length(repeat('x', 1000000))) FROM generate_series(1,10000000)",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n % 1000 + 1 FROM t) SELECT count(*) FROM t",
];

#[test]
fn whatever_computes_stops_when_its_time_is_up() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("threads start");
    runtime.block_on(async {
        let tasks = Tasks::on(tokio::runtime::Handle::current());
        let queries = tasks.scope();
        let nodes = nodes_on(1, 11, SqlSettings::default(), tasks.clone(), queries.clone()).await;
        let (mut session, mut other) = (session(&nodes[0]).await, session(&nodes[0]).await);
        run(&mut session, "SET statement_timeout = '200ms'").await.expect("it is set");
        for sql in ENDLESS {
            let stopped = tokio::time::timeout(PATIENCE, run(&mut session, sql)).await;
            let error = stopped.unwrap_or_else(|_| panic!("not stopped: {sql}")).expect_err(sql);
            assert_eq!((error.code, error.message.contains("statement timeout")), ("57014", true), "{sql}: {error}");
            // Meanwhile whatever is left of it hinders nobody.
            run(&mut other, "SELECT count(*) FROM generate_series(1,10)").await.expect("another session goes on");
        }
        let ended = tokio::time::timeout(PATIENCE, queries.stop()).await;
        assert!(ended.is_ok(), "a statement goes on computing after it was stopped");
    });
}

#[test]
fn a_statement_is_cancelled_before_it_is_planned() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("threads start");
    runtime.block_on(async {
        let tasks = Tasks::on(tokio::runtime::Handle::current());
        let nodes = nodes_on(1, 12, SqlSettings::default(), tasks.clone(), tasks).await;
        let mut session = session(&nodes[0]).await;
        let cancel = CancelToken::new();
        cancel.cancel();
        let error = run_until(&mut session, "SELECT count(*) FROM pg_class", &cancel).await.expect_err("cancelled");
        assert_eq!(error.code, "57014");
    });
}
