//! What connections hold is counted, and bounded by what they send.

use std::time::Duration;

use bytes::BufMut;

use super::testing::{Client, in_runtime, node};

/// What all clients may hold together, beyond what each may anyway.
const POOL_BYTES: usize = 1 << 20;
/// Far more than any machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Parse.
fn parse(name: &str, query: &str) -> Vec<u8> {
    let mut body = format!("{name}\0{query}\0").into_bytes();
    body.put_i16(0);
    body
}

/// Bind, with one parameter in text.
fn bind(portal: &str, statement: &str, parameter: &str) -> Vec<u8> {
    let mut body = format!("{portal}\0{statement}\0").into_bytes();
    body.put_i16(0);
    body.put_i16(1);
    body.put_i32(parameter.len() as i32);
    body.put_slice(parameter.as_bytes());
    body.put_i16(0);
    body
}

/// Execute, for so many rows.
fn execute(portal: &str, max_rows: i32) -> Vec<u8> {
    let mut body = format!("{portal}\0").into_bytes();
    body.put_i32(max_rows);
    body
}

#[test]
fn a_message_that_there_is_no_room_for_is_passed_over() {
    in_runtime(async {
        let shared = node(POOL_BYTES).await;
        let mut client = Client::connect(&shared).await;
        client.query(&format!("SELECT '{}'", "x".repeat(3 << 20))).await;
        assert_eq!(client.until(b'Z').await, ["ERROR 53200", "Z"]);
        client.send(b'P', &parse("s", &format!("SELECT '{}'", "x".repeat(3 << 20)))).await;
        client.send(b'D', b"Ss\0").await;
        client.send(b'S', b"").await;
        assert_eq!(client.until(b'Z').await, ["ERROR 53200", "Z"], "what follows up to Sync is skipped");
        client.query("CREATE TABLE t (s text)").await;
        client.until(b'Z').await;
        client.query("COPY t FROM STDIN").await;
        client.until(b'G').await;
        client.send(b'd', &vec![b'x'; 3 << 20]).await;
        client.send(b'c', b"").await;
        assert_eq!(client.until(b'Z').await, ["ERROR 53200", "Z"]);
        client.query(&format!("SELECT length('{}')", "x".repeat(300_000))).await;
        assert_eq!(client.until(b'Z').await, ["T", "D", "SELECT 1", "Z"]);
        client.query("SELECT 1").await;
        client.until(b'Z').await;
        assert_eq!(shared.sql.held_bytes(), 0);
    });
}

#[test]
fn portals_are_counted() {
    in_runtime(async {
        let shared = node(POOL_BYTES).await;
        let mut client = Client::connect(&shared).await;
        client.query("BEGIN").await;
        client.until(b'Z').await;
        client.send(b'P', &parse("s", "SELECT $1::text")).await;
        for number in 0..30 {
            client.send(b'B', &bind(&format!("p{number}"), "s", &"x".repeat(60_000))).await;
        }
        client.send(b'S', b"").await;
        let heard = client.until(b'Z').await;
        assert_eq!(heard[heard.len() - 2..], ["ERROR 53200", "Z"], "their parameters");
        client.query("ROLLBACK").await;
        client.until(b'Z').await;
        assert_eq!(shared.sql.held_bytes(), 0);
        // One that is suspended holds the rows that were computed for it.
        client.query("BEGIN").await;
        client.until(b'Z').await;
        client.send(b'P', &parse("r", "SELECT repeat($1, 600000) FROM generate_series(1, 10)")).await;
        client.send(b'B', &bind("p", "r", "x")).await;
        client.send(b'E', &execute("p", 1)).await;
        client.send(b'S', b"").await;
        assert_eq!(client.until(b'Z').await, ["1", "2", "D", "s", "Z"]);
        assert!(shared.sql.held_bytes() > 0);
        client.query("ROLLBACK").await;
        client.until(b'Z').await;
        assert_eq!(shared.sql.held_bytes(), 0);
    });
}

#[test]
fn answers_are_sent_before_the_client_asks_for_them() {
    in_runtime(async {
        let shared = node(64 << 20).await;
        let mut client = Client::connect(&shared).await;
        let columns: Vec<String> =
            (0..1_000).map(|number| format!("1 AS a_column_with_a_long_name_{number}")).collect();
        client.send(b'P', &parse("s", &format!("SELECT {}", columns.join(", ")))).await;
        for _ in 0..10 {
            client.send(b'D', b"Ss\0").await;
        }
        // Neither Flush nor Sync: but there is more than a buffer of them.
        let heard = tokio::time::timeout(PATIENCE, client.until(b'T')).await;
        assert_eq!(heard.expect("it is sent, not kept"), ["1", "t", "T"]);
    });
}

#[test]
fn copy_says_how_many_rows_it_sent() {
    in_runtime(async {
        let shared = node(64 << 20).await;
        let mut client = Client::connect(&shared).await;
        client.query("COPY (SELECT * FROM generate_series(1, 10)) TO STDOUT (FORMAT csv, HEADER)").await;
        let heard = client.until(b'Z').await;
        assert_eq!(heard[heard.len() - 3..], ["c", "COPY 10", "Z"]);
    });
}
