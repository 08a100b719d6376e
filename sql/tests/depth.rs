//! Statements that are long: on a thread with the stack that connections have, they are answered. A stack that overflows ends the
//! process, and so fails this test.
#![allow(missing_docs)]

use sql::SqlSettings;

mod support;

use support::{in_runtime, run, session};

/// What the threads that serve connections have.
const STACK_BYTES: usize = 2 << 20;

const TABLE: &str = "CREATE TABLE t (a int PRIMARY KEY, s text); INSERT INTO t VALUES (1, 'x'), (2, 'y')";

/// One thing, so many times, with something between.
fn joined(count: usize, by: &str, of: impl Fn(usize) -> String) -> String {
    (0..count).map(of).collect::<Vec<_>>().join(by)
}

#[test]
fn long_statements_are_answered() {
    let one = |text: &'static str| move |_: usize| text.to_owned();
    let statements = [
        ("a sum", format!("SELECT {}", joined(1_600, " + ", one("1")))),
        ("a sum of columns", format!("SELECT {} FROM t", joined(1_600, " + ", one("a")))),
        ("texts joined", format!("SELECT {} FROM t", joined(1_600, " || ", one("s")))),
        ("UNION ALL", joined(900, " UNION ALL ", one("SELECT 1"))),
        ("OR", format!("SELECT count(*) FROM t WHERE {}", joined(2_500, " OR ", |at| format!("a = {at}")))),
    ];
    let answer_all = async move {
        let node = support::nodes(1, 21, SqlSettings::default()).await.remove(0);
        let mut session = session(&node).await;
        run(&mut session, TABLE).await.expect("the table is made");
        for (name, text) in statements {
            let answer = run(&mut session, &text).await.map(|rows| rows.is_empty());
            assert_eq!(answer, Ok(false), "{name}");
        }
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    thread.spawn(|| in_runtime(answer_all)).expect("a thread starts").join().expect("all were answered");
}
