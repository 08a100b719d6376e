//! The coordinator's named settings.

use std::time::Duration;

/// What can be set about the coordinator. The defaults are for production.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes of keys and values a transaction buffers at the gateway before it spills them to intents.
    pub write_buffer_bytes: usize,
    /// Bytes of one batch of writes, be it spilled, committed or loaded.
    pub write_batch_bytes: usize,
    /// Batches of a bulk load on their way at once.
    pub bulk_batches_in_flight: usize,
    /// Bytes of one key with its value; more is refused.
    pub max_write_bytes: usize,
    /// Bytes of read spans that a transaction remembers exactly; more are condensed to fewer, wider ones.
    pub read_span_bytes: usize,
    /// Bytes of intent and lock spans that a transaction remembers exactly.
    pub intent_span_bytes: usize,
    /// How long one batch waits for locks and quorums.
    pub request_timeout: Duration,
    /// How often the record of a transaction that holds anything is kept alive.
    pub heartbeat_interval: Duration,
    /// How long after a commit was sent its outcome is reported as unknown, if no answer came and nobody could be asked.
    pub ambiguous_commit_bound: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            write_buffer_bytes: 4 << 20,
            write_batch_bytes: 1 << 20,
            bulk_batches_in_flight: 2,
            max_write_bytes: 32 << 20,
            read_span_bytes: 256 << 10,
            intent_span_bytes: 256 << 10,
            request_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_millis(500),
            ambiguous_commit_bound: Duration::from_secs(12),
        }
    }
}
