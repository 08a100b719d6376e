//! Statements that become twice as wide: what planning them takes grows with them, counted in allocations. Time would say how busy the
//! machine is, too.
#![allow(missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use clock::Tasks;
use sql::{Session, SqlSettings};

mod support;

use support::{nodes_on, run, session};

/// Allocations made so far, by whatever thread.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: the system's allocator does all of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as asked of this one.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as asked of this one.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A statement of so many parts.
type Wide = fn(usize) -> String;

fn list(parts: usize, by: &str, of: impl Fn(usize) -> String) -> String {
    (0..parts).map(of).collect::<Vec<_>>().join(by)
}

/// What takes about twice as much for twice the parts.
const LINEAR: [(&str, usize, Wide); 22] = [
    ("AND", 200, |n| format!("SELECT count(*) FROM t WHERE {}", list(n, " AND ", |at| format!("a <> {}", at + 2)))),
    ("OR", 200, |n| format!("SELECT count(*) FROM t WHERE {}", list(n, " OR ", |at| format!("a = {at}")))),
    ("IN", 200, |n| format!("SELECT count(*) FROM t WHERE a + 1 IN ({})", list(n, ", ", |at| at.to_string()))),
    ("IN of expressions", 50, |n| {
        format!("SELECT count(*) FROM t WHERE a IN ({})", list(n, ", ", |at| format!("a + {at}")))
    }),
    ("VALUES", 200, |n| format!("SELECT * FROM (VALUES {}) AS v", list(n, ", ", |at| format!("({at}, 'x')")))),
    ("CASE", 50, |n| format!("SELECT CASE {} END FROM t", list(n, " ", |at| format!("WHEN a = {at} THEN a + {at}")))),
    ("CASE of an operand", 50, |n| {
        format!("SELECT CASE a + 1 {} END FROM t", list(n, " ", |at| format!("WHEN {at} THEN a + {at}")))
    }),
    ("COALESCE", 100, |n| format!("SELECT coalesce({}) FROM t", list(n, ", ", |_| "nullif(a, a)".to_owned()))),
    ("ARRAY", 100, |n| format!("SELECT (ARRAY[{}])[1:2] FROM t", list(n, ", ", |at| format!("a + {at}")))),
    ("slices", 50, |n| format!("SELECT {} FROM t", list(n, ", ", |at| format!("(ARRAY[a, {at}])[1:{at}]")))),
    ("select list", 100, |n| format!("SELECT {} FROM t", list(n, ", ", |at| format!("a + {at}")))),
    ("DISTINCT ON", 50, |n| format!("SELECT DISTINCT ON ({}) a FROM t", list(n, ", ", |at| format!("a + {at}")))),
    ("GROUP BY", 50, |n| format!("SELECT count(*) FROM t GROUP BY {}", list(n, ", ", |at| format!("a + {at}")))),
    ("aggregates", 50, |n| format!("SELECT {} FROM t", list(n, ", ", |at| format!("sum(a + {at})")))),
    ("FILTER", 50, |n| format!("SELECT {} FROM t", list(n, ", ", |at| format!("count(*) FILTER (WHERE a = {at})")))),
    ("windows", 50, |n| format!("SELECT {} FROM t", list(n, ", ", |at| format!("sum(a + {at}) OVER (ORDER BY a)")))),
    ("UNION ALL", 100, |n| list(n, " UNION ALL ", |at| format!("SELECT {at}"))),
    ("WITH", 50, |n| {
        format!("WITH {} SELECT * FROM w0", list(n, ", ", |at| format!("w{at} AS (SELECT a + {at} FROM t)")))
    }),
    ("WITH RECURSIVE", 25, |n| {
        let terms = list(n, " AND ", |at| format!("x <> {}", at + 5));
        format!("WITH RECURSIVE w(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM w WHERE {terms}) SELECT * FROM w")
    }),
    ("INSERT", 200, |n| format!("INSERT INTO kept VALUES {}", list(n, ", ", |at| format!("('{at}')")))),
    ("INSERT of a query", 50, |n| format!("INSERT INTO kept SELECT {} FROM t", list(n, " || ", |_| "s".to_owned()))),
    ("UPDATE", 100, |n| {
        format!("UPDATE t SET s = CASE {} END", list(n, " ", |at| format!("WHEN a = {at} THEN '{at}'")))
    }),
];

/// What joins, each of whose parts is looked at for each other one: four times as much for twice the parts.
const SQUARE: [(&str, usize, Wide); 14] = [
    ("ORDER BY", 50, |n| format!("SELECT a FROM t ORDER BY {}", list(n, ", ", |at| format!("a + {at}")))),
    ("HAVING", 25, |n| {
        format!("SELECT 1 FROM t GROUP BY s HAVING {}", list(n, " AND ", |at| format!("sum(a + {at}) > 0")))
    }),
    ("JOIN … USING", 30, |n| {
        format!("SELECT count(*) FROM t {}", list(n, " ", |at| format!("JOIN t AS j{at} USING (a)")))
    }),
    ("JOIN … ON", 30, |n| {
        let joins = list(n, " ", |at| format!("JOIN t AS j{} ON j{at}.a = j{}.a", at + 1, at + 1));
        format!("SELECT count(*) FROM t AS j0 {joins}")
    }),
    ("LEFT JOIN", 30, |n| {
        format!("SELECT count(*) FROM t {}", list(n, " ", |at| format!("LEFT JOIN t AS j{at} ON j{at}.a = t.a")))
    }),
    ("FROM", 30, |n| {
        let conditions = list(n - 1, " AND ", |at| format!("j{at}.a = j{}.a", at + 1));
        format!("SELECT count(*) FROM {} WHERE {conditions}", list(n, ", ", |at| format!("t AS j{at}")))
    }),
    ("IN of queries", 30, |n| {
        let terms = list(n, " AND ", |at| format!("a IN (SELECT a FROM t WHERE a < {})", at + 9));
        format!("SELECT count(*) FROM t WHERE {terms}")
    }),
    ("NOT IN", 30, |n| {
        let terms = list(n, " AND ", |at| format!("a NOT IN (SELECT a FROM t WHERE a > {})", at + 9));
        format!("SELECT count(*) FROM t WHERE {terms}")
    }),
    ("IN or IN", 30, |n| {
        let terms = list(n, " OR ", |at| format!("a IN (SELECT a FROM t WHERE a > {})", at + 9));
        format!("SELECT count(*) FROM t WHERE {terms}")
    }),
    ("EXISTS", 30, |n| {
        let terms =
            list(n, " AND ", |at| format!("EXISTS (SELECT 1 FROM t AS u WHERE u.a = t.a AND u.a < {})", at + 9));
        format!("SELECT count(*) FROM t WHERE {terms}")
    }),
    ("EXISTS, selected", 30, |n| {
        let items = list(n, ", ", |at| format!("EXISTS (SELECT 1 FROM t AS u WHERE u.a = t.a AND u.a < {})", at + 9));
        format!("SELECT {items} FROM t")
    }),
    ("scalar subqueries", 30, |n| format!("SELECT {}", list(n, ", ", |at| format!("(SELECT max(a) + {at} FROM t)")))),
    ("scalar subqueries, correlated", 30, |n| {
        let items = list(n, ", ", |at| format!("(SELECT max(u.a) + {at} FROM t AS u WHERE u.a = t.a)"));
        format!("SELECT {items} FROM t")
    }),
    ("WITH, each used by the next", 30, |n| {
        let named = list(n, "", |at| format!(", w{} AS (SELECT a + 1 AS a FROM w{at})", at + 1));
        format!("WITH w0 AS (SELECT a FROM t){named} SELECT * FROM w{n}")
    }),
];

/// How many allocations planning a statement takes.
async fn planned(session: &mut Session, text: &str) -> u64 {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let explained = run(session, &format!("EXPLAIN {text}")).await;
    explained.unwrap_or_else(|error| panic!("{text}: {error} {:?}", error.detail));
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

#[test]
fn planning_grows_with_the_statement() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be built").block_on(async {
        let tasks = Tasks::on(tokio::runtime::Handle::current());
        let node = nodes_on(1, 21, SqlSettings::default(), tasks.clone(), tasks).await.remove(0);
        let mut session = session(&node).await;
        run(&mut session, "CREATE TABLE t (a int PRIMARY KEY, s text); CREATE TABLE kept (s text)")
            .await
            .expect("made");
        let mut wrong = Vec::new();
        let cases = LINEAR.iter().map(|case| (case, 2.6)).chain(SQUARE.iter().map(|case| (case, 4.6)));
        for ((name, parts, wide), most) in cases {
            // What is made once, is made.
            planned(&mut session, &wide(2)).await;
            let (once, twice) =
                (planned(&mut session, &wide(*parts)).await, planned(&mut session, &wide(2 * parts)).await);
            let growth = twice as f64 / once as f64;
            println!("{name}: {once} allocations for {parts} parts, × {growth:.2} for twice as many");
            if growth > most {
                wrong.push(format!("{name}: × {growth:.2}"));
            }
        }
        assert!(wrong.is_empty(), "for twice the parts: {wrong:?}");
    });
}
