//! Statements that nest deeply or are wide: every construct, over literals and over columns, in each place where it may stand. They are
//! answered, or refused by name. A stack that overflows ends the process, and so fails this test; and so does planning whose time doubles
//! with each level, or grows with the cube of them, as it is not done when the statement's time is up.
#![allow(missing_docs)]

use std::collections::BTreeMap;

use clock::Tasks;
use sql::{Row, Session, SqlError, SqlSettings};

mod support;

use support::{nodes_on, run, session};

/// What the threads that serve connections have.
const STACK_BYTES: usize = 2 << 20;
/// Many times what any of the statements takes.
const PATIENCE: &str = "SET statement_timeout = '60s'";
const TABLE: &str = "CREATE TABLE t (a int PRIMARY KEY, s text); INSERT INTO t VALUES (1, 'x')";

/// One level around an expression; the number of the level.
type Level = fn(&str, usize) -> String;

/// A construct that nests: the innermost expression, and a level around one. `{n}` is a number, `{t}` a text.
struct Nesting {
    name: &'static str,
    innermost: &'static str,
    level: Level,
}

const fn nesting(name: &'static str, innermost: &'static str, level: Level) -> Nesting {
    Nesting { name, innermost, level }
}

const EXPRESSIONS: [Nesting; 48] = [
    nesting("+, on the left", "{n}", |e, _| format!("{e} + 1")),
    nesting("+, on the right", "{n}", |e, _| format!("(1 + {e})")),
    nesting("-", "{n}", |e, _| format!("(100 - {e})")),
    nesting("*", "{n}", |e, _| format!("({e}) * 1")),
    nesting("/", "{n}", |e, _| format!("({e}) / 1")),
    nesting("%", "{n}", |e, _| format!("({e}) % 7")),
    nesting("numeric", "{n}", |e, _| format!("({e} + 0.5)")),
    nesting("float8", "{n}", |e, _| format!("(sqrt({e}) + 1.5::float8)")),
    nesting("unary minus", "{n}", |e, _| format!("-({e})")),
    nesting("parentheses", "{n}", |e, _| format!("({e})")),
    nesting("||", "{t}", |e, _| format!("('y' || {e})")),
    nesting("CAST", "{n}", |e, at| format!("CAST({e} AS {})", if at % 2 == 0 { "bigint" } else { "int" })),
    nesting("::", "{n}", |e, at| format!("{e}::{}", if at % 2 == 0 { "int8" } else { "int4" })),
    nesting("abs", "{n}", |e, _| format!("abs({e})")),
    nesting("upper", "{t}", |e, _| format!("upper({e})")),
    nesting("length", "{n}", |e, _| format!("length(({e})::text)")),
    nesting("replace", "{t}", |e, _| format!("replace({e}, 'x', 'x')")),
    nesting("substring", "{t}", |e, _| format!("substring({e} from 1 for 3)")),
    nesting("concat", "{t}", |e, _| format!("concat({e}, 1)")),
    nesting("NULLIF", "{n}", |e, at| format!("nullif({e}, {})", at + 100)),
    nesting("COALESCE", "{n}", |e, at| format!("coalesce({e}, {at})")),
    nesting("COALESCE, after NULL", "{n}", |e, _| format!("coalesce(NULL, {e})")),
    nesting("GREATEST", "{n}", |e, _| format!("greatest({e}, 1)")),
    nesting("CASE, its condition", "{n}", |e, _| format!("CASE WHEN {e} > 1 THEN 1 ELSE 2 END")),
    nesting("CASE, its result", "{n}", |e, at| format!("CASE WHEN {{n}} = {} THEN 0 ELSE {e} END", at + 2)),
    nesting("CASE, its operand", "{n}", |e, _| format!("CASE {e} WHEN 1 THEN 2 ELSE 1 END")),
    nesting("CASE, its operand, twice", "{n}", |e, _| format!("CASE {e} WHEN 1 THEN 2 WHEN 2 THEN 1 END")),
    nesting("BETWEEN", "{n}", |e, _| format!("({e} BETWEEN 0 AND 3)::int")),
    nesting("BETWEEN, its end", "{n}", |e, _| format!("({{n}} BETWEEN 0 AND {e})::int")),
    nesting("CASE, not taken", "{n}", |e, _| format!("CASE WHEN {{n}} = 1 THEN 1 ELSE 1 / ({e} - {{n}}) END")),
    nesting("IN", "{n}", |e, _| format!("({e} IN (1, 2, 3))::int")),
    nesting("IN, in its list", "{n}", |e, _| format!("({{n}} IN (7, {e}))::int")),
    nesting("LIKE", "{t}", |e, _| format!("({e} LIKE '%x%')::text")),
    nesting("IS NULL", "{n}", |e, _| format!("({e} IS NULL)")),
    nesting("IS TRUE", "{n} = 1", |e, _| format!("(({e}) IS NOT TRUE)")),
    nesting("IS DISTINCT FROM", "{n} = 1", |e, _| format!("(({e}) IS DISTINCT FROM true)")),
    nesting("NOT", "{n} = 1", |e, _| format!("NOT ({e})")),
    nesting("AND and OR", "{n} = 1", |e, at| {
        format!("({{n}} = {} {} {e})", at % 3, if at % 2 == 0 { "OR" } else { "AND" })
    }),
    nesting("=", "{n} = 1", |e, _| format!("(({e}) = false)")),
    nesting("rows compared", "{n} = 1", |e, _| format!("((({e}), 1) = (false, 1))")),
    nesting("rows", "{n}", |e, _| format!("ROW({e}, 1)")),
    nesting("ARRAY", "{n}", |e, _| format!("(ARRAY[{e}, 1])[1]")),
    nesting("= ANY", "{n} = 1", |e, _| format!("(({e}) = ANY (ARRAY[true]))")),
    nesting("jsonb", "{n}", |e, _| format!("jsonb_build_array({e})")),
    nesting("dates", "{n}", |e, _| format!("extract(day from date '2020-01-01' + ({e})::int)")),
    nesting("SELECT of no table", "{n}", |e, _| format!("(SELECT {e})")),
    nesting("scalar subquery", "{n}", |e, _| format!("(SELECT max({e}) FROM t)")),
    nesting("ARRAY of a subquery", "{n}", |e, _| format!("(ARRAY(SELECT {e}))[1]")),
];

/// Statements around an expression; numbers are `a`, texts are `s`, in those that read the table.
const PLACES: [(&str, &str); 20] = [
    ("select list", "SELECT {} FROM t"),
    ("WHERE", "SELECT a FROM t WHERE ({})::text = 'x'"),
    ("GROUP BY", "SELECT {}, count(*) FROM t GROUP BY {}"),
    ("GROUP BY a part", "SELECT ({}), ({})::text || 'y' FROM t GROUP BY {}"),
    ("HAVING", "SELECT count(*) FROM t GROUP BY a, s HAVING ({})::text <> 'z'"),
    ("ORDER BY", "SELECT a FROM t ORDER BY {}"),
    ("DISTINCT", "SELECT DISTINCT {} FROM t"),
    ("DISTINCT ON", "SELECT DISTINCT ON ({}) a FROM t"),
    ("ON", "SELECT t.a FROM t JOIN generate_series(1, 2) AS g(x) ON ({})::text = x::text"),
    ("an aggregate", "SELECT max(({})::text), string_agg(({})::text, ',') FROM t"),
    ("FILTER", "SELECT count(*) FILTER (WHERE ({})::text = '1') FROM t"),
    ("a window", "SELECT rank() OVER (PARTITION BY {} ORDER BY {}) FROM t"),
    ("FROM", "SELECT v.x FROM (SELECT {} FROM t) AS v(x)"),
    ("UNION", "SELECT {} FROM t UNION SELECT {} FROM t"),
    ("WITH", "WITH w AS (SELECT {} AS x FROM t) SELECT x FROM w"),
    ("INSERT", "INSERT INTO kept SELECT ({})::text FROM t"),
    ("UPDATE", "UPDATE t SET s = ({})::text RETURNING s"),
    ("UPDATE … WHERE", "UPDATE t SET s = s WHERE ({})::text = 'no'"),
    ("DELETE", "DELETE FROM t WHERE ({})::text = 'no' RETURNING a"),
    ("EXISTS", "SELECT EXISTS (SELECT 1 FROM t WHERE ({})::text = '1')"),
];

/// Queries within queries.
const QUERIES: [Nesting; 12] = [
    nesting("FROM", "SELECT a FROM t", |q, at| format!("SELECT * FROM ({q}) AS q{at}")),
    nesting("FROM, computed", "SELECT a FROM t", |q, at| format!("SELECT a + 1 AS a FROM ({q}) AS q{at}")),
    nesting("UNION ALL, on the left", "SELECT 1", |q, at| format!("{q} UNION ALL SELECT {at}")),
    nesting("UNION ALL, on the right", "SELECT 1", |q, at| format!("SELECT {at} UNION ALL ({q})")),
    nesting("UNION", "SELECT 1", |q, at| format!("{q} UNION SELECT {at}")),
    nesting("INTERSECT", "SELECT 1", |q, _| format!("({q}) INTERSECT SELECT 1")),
    nesting("EXCEPT", "SELECT 1", |q, at| format!("({q}) EXCEPT SELECT {}", at + 2)),
    nesting("GROUP BY", "SELECT a FROM t", |q, at| format!("SELECT a, count(*) FROM ({q}) AS q{at} GROUP BY a")),
    nesting("WITH", "SELECT 1 AS a", |q, at| format!("WITH w{at} AS ({q}) SELECT a FROM w{at}")),
    nesting("EXISTS", "SELECT 1", |q, at| format!("SELECT 1 FROM t AS q{at} WHERE EXISTS ({q})")),
    nesting("IN", "SELECT 1", |q, at| format!("SELECT 1 FROM t AS q{at} WHERE a IN ({q})")),
    nesting("a join", "SELECT a FROM t", |q, at| format!("SELECT t.a FROM t JOIN ({q}) AS q{at} ON t.a = q{at}.a")),
];

/// Wide statements of so many parts.
fn wide(parts: usize) -> Vec<(&'static str, String)> {
    let list = |by: &str, of: &dyn Fn(usize) -> String| (0..parts).map(of).collect::<Vec<_>>().join(by);
    let one = |text: &'static str| move |_: usize| text.to_owned();
    vec![
        ("a sum", format!("SELECT {}", list(" + ", &one("1")))),
        ("a sum of columns", format!("SELECT {} FROM t", list(" + ", &one("a")))),
        ("texts joined", format!("SELECT length({}) FROM t", list(" || ", &one("s")))),
        ("OR", format!("SELECT count(*) FROM t WHERE {}", list(" OR ", &|at| format!("a = {at}")))),
        ("AND", format!("SELECT count(*) FROM t WHERE {}", list(" AND ", &|at| format!("a <> {}", at + 2)))),
        ("UNION ALL", list(" UNION ALL ", &|at| format!("SELECT {at}"))),
        ("select list", format!("SELECT {} FROM t", list(", ", &|at| format!("a + {at}")))),
        ("IN", format!("SELECT count(*) FROM t WHERE a + 1 IN ({})", list(", ", &|at| at.to_string()))),
        ("IN, of a key", format!("SELECT count(*) FROM t WHERE a IN ({})", list(", ", &|at| at.to_string()))),
        ("VALUES", format!("SELECT count(*) FROM (VALUES {}) AS v(x)", list(", ", &|at| format!("({at})")))),
        ("CASE", format!("SELECT CASE {} END FROM t", list(" ", &|at| format!("WHEN a = {at} THEN {at}")))),
        ("COALESCE", format!("SELECT coalesce({}, a) FROM t", list(", ", &one("NULL")))),
        ("GREATEST", format!("SELECT greatest({}) FROM t", list(", ", &|at| format!("a + {at}")))),
        ("ARRAY", format!("SELECT (ARRAY[{}])[1] FROM t", list(", ", &one("a")))),
        ("INSERT", format!("INSERT INTO kept VALUES {}", list(", ", &|at| format!("('{at}')")))),
    ]
}

/// Wide statements that take longer for each part.
fn wide_lists(parts: usize) -> Vec<(&'static str, String)> {
    let list = |by: &str, of: &dyn Fn(usize) -> String| (0..parts).map(of).collect::<Vec<_>>().join(by);
    vec![
        ("GROUP BY", format!("SELECT count(*) FROM t GROUP BY {}", list(", ", &|at| format!("a + {at}")))),
        ("ORDER BY", format!("SELECT a FROM t ORDER BY {}", list(", ", &|at| format!("a + {at}")))),
        ("aggregates", format!("SELECT {} FROM t", list(", ", &|at| format!("sum(a + {at})")))),
        ("FILTER", format!("SELECT {} FROM t", list(", ", &|at| format!("count(*) FILTER (WHERE a = {at})")))),
        ("windows", format!("SELECT {} FROM t", list(", ", &|at| format!("sum(a + {at}) OVER (ORDER BY a)")))),
        ("subqueries", format!("SELECT {}", list(", ", &|at| format!("(SELECT max(a) + {at} FROM t)")))),
        ("joins", format!("SELECT count(*) FROM t {}", list(" ", &|at| format!("JOIN t AS j{at} USING (a)")))),
    ]
}

/// A construct, nested.
fn nested(nesting: &Nesting, levels: usize) -> String {
    (0..levels).fold(nesting.innermost.to_owned(), |nested, at| (nesting.level)(&nested, at))
}

/// Runs a statement, which is answered or refused by name.
async fn answer(session: &mut Session, name: &str, text: &str) -> Result<Vec<Row>, SqlError> {
    let answer = run(session, text).await;
    if let Err(error) = &answer {
        let is_named = !matches!(error.code, "XX000" | "57014");
        assert!(is_named, "{name}: {} {} {:?}", error.code, error.message, error.detail);
    }
    answer
}

/// Runs a test where stacks are as small as those of connections.
fn on_a_small_stack<F: Future<Output = ()>>(test: impl FnOnce(Session) -> F + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
    let runs = thread.spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be built").block_on(async {
            let tasks = Tasks::on(tokio::runtime::Handle::current());
            let node = nodes_on(1, 21, SqlSettings::default(), tasks.clone(), tasks).await.remove(0);
            let mut session = session(&node).await;
            let made = run(&mut session, &format!("{TABLE}; CREATE TABLE kept (s text); {PATIENCE}")).await;
            made.expect("the tables are made");
            test(session).await;
        });
    });
    runs.expect("a thread starts").join().expect("all were answered");
}

#[test]
fn expressions_nest() {
    on_a_small_stack(|mut session| async move {
        for (levels, answered) in [(10, true), (100, true), (1_000, false)] {
            for nesting in &EXPRESSIONS {
                let name = format!("{} × {levels}", nesting.name);
                let expression = nested(nesting, levels);
                let literal = expression.replace("{n}", "1").replace("{t}", "'x'");
                let column = expression.replace("{n}", "t.a").replace("{t}", "t.s");
                let literal = answer(&mut session, &name, &format!("SELECT {literal}")).await;
                let column = answer(&mut session, &name, &format!("SELECT {column} FROM t")).await;
                match (literal, column) {
                    (Ok(literal), Ok(column)) => assert_eq!(literal, column, "{name}"),
                    (literal, column) => {
                        let codes = (literal.err().map(|error| error.code), column.err().map(|error| error.code));
                        let refused = matches!(nesting.name, "rows" | "ARRAY of a subquery") || !answered;
                        assert!(refused, "{name}: {codes:?}");
                    }
                }
            }
        }
    });
}

#[test]
fn expressions_nest_in_each_place() {
    on_a_small_stack(|mut session| async move {
        for construct in ["+, on the right", "upper", "CASE, its result", "NOT", "COALESCE"] {
            let nesting = EXPRESSIONS.iter().find(|nesting| nesting.name == construct).expect(construct);
            let expression = nested(nesting, 60).replace("{n}", "t.a").replace("{t}", "t.s");
            for (place, statement) in PLACES {
                run(&mut session, "BEGIN").await.expect("it begins");
                let answer = run(&mut session, &statement.replace("{}", &expression)).await;
                assert_eq!(answer.err(), None, "{construct} in {place}");
                run(&mut session, "ROLLBACK").await.expect("it ends");
            }
        }
    });
}

#[test]
fn queries_nest() {
    on_a_small_stack(|mut session| async move {
        for levels in [10, 50] {
            for nesting in &QUERIES {
                let name = format!("{} × {levels}", nesting.name);
                let answered = answer(&mut session, &name, &nested(nesting, levels)).await;
                assert_eq!(answered.err(), None, "{name}");
            }
        }
    });
}

#[test]
fn names_used_twice_by_the_next_are_refused_before_they_are_planned() {
    on_a_small_stack(|mut session| async move {
        for (names, code) in [(6, None), (40, Some("54001"))] {
            let twice = |at| format!(", w{} AS (SELECT x.a FROM w{at} AS x, w{at} AS y WHERE x.a = y.a)", at + 1);
            let named: String = (0..names).map(twice).collect();
            let text = format!("WITH w0 AS (SELECT a FROM t){named} SELECT * FROM w{names}");
            let answered = answer(&mut session, "WITH", &text).await;
            assert_eq!(answered.err().map(|error| error.code), code, "{names} names");
        }
    });
}

#[test]
fn more_operators_than_a_turn_has_steps_give_rows() {
    on_a_small_stack(|mut session| async move {
        for nesting in QUERIES.iter().filter(|nesting| matches!(nesting.name, "INTERSECT" | "EXCEPT" | "GROUP BY")) {
            let rows = answer(&mut session, nesting.name, &nested(nesting, 200)).await;
            assert_eq!(rows.map(|rows| rows.len()), Ok(1), "{}", nesting.name);
        }
        let windows: Vec<_> = (0..150).map(|at| format!("sum(a) OVER (ORDER BY a + {at})")).collect();
        let rows = answer(&mut session, "windows", &format!("SELECT {} FROM t", windows.join(", "))).await;
        assert_eq!(rows.map(|rows| rows.len()), Ok(1), "windows");
    });
}

#[test]
fn statements_are_wide() {
    on_a_small_stack(|mut session| async move {
        let mut answers: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
        for (name, text) in wide(2_500).into_iter().chain(wide_lists(100)) {
            let answered = answer(&mut session, name, &text).await;
            answers.insert(name, answered.unwrap_or_else(|error| panic!("{name}: {error}")));
        }
        let shown = |name: &str| format!("{:?}", answers[name]);
        assert_eq!(shown("a sum"), "[[Int4(2500)]]");
        assert_eq!(shown("a sum of columns"), "[[Int4(2500)]]");
        assert_eq!(shown("texts joined"), "[[Int4(2500)]]");
        assert_eq!(answers["UNION ALL"].len(), 2_500);
        assert_eq!(shown("OR"), "[[Int8(1)]]");
        assert_eq!(shown("AND"), "[[Int8(1)]]");
        assert_eq!(shown("joins"), "[[Int8(1)]]");
    });
}
