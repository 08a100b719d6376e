//! What clients of a node hear when it stops.

use crate::connection::testing::{Client, in_runtime, node};

#[test]
fn every_client_is_told_before_its_connection_closes() {
    in_runtime(async {
        let shared = node(64 << 20).await;
        let mut idle = Client::connect(&shared).await;
        let mut open = Client::connect(&shared).await;
        open.query("BEGIN").await;
        open.until(b'Z').await;
        let mut busy = Client::connect(&shared).await;
        busy.query("SELECT pg_sleep(600)").await;
        let mut copying = Client::connect(&shared).await;
        copying.query("CREATE TABLE t (id int)").await;
        copying.until(b'Z').await;
        copying.query("COPY t FROM STDIN").await;
        copying.until(b'G').await;
        let mut undecided = Client::knock(&shared);
        shared.stop().await;
        assert_eq!(idle.last_words().await, ["FATAL 57P01"]);
        assert_eq!(open.last_words().await, ["FATAL 57P01"]);
        // What of its result has been sent already is none of an error's business.
        assert_eq!(busy.last_words().await.last().map(String::as_str), Some("FATAL 57P01"));
        assert_eq!(copying.last_words().await, ["FATAL 57P01"]);
        assert_eq!(undecided.last_words().await, ["FATAL 57P03"]);
        assert_eq!(shared.cancels.connections(), 0, "all have left");
    });
}
