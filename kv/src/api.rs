//! What a client may ask of ranges, and what they answer.
//!
//! ```text
//!   BatchRequest {header, requests} ──▶ Sender ──▶ Result<BatchResponse, KvError>
//!                   │                     │
//!                   │                     └ the router, which splits the batch by range and goes to
//!                   │                       each leaseholder; or one range by itself
//!                   └ the transaction it belongs to, or none
//! ```
//!
//! The types here are the messages themselves: what crosses the wire between nodes is their prost
//! encoding, and a request to a range on the same node is passed as it is.
//!
//! A batch is evaluated atomically when it falls into one range. The router refuses to split a
//! batch that contains [`EndTxn`] together with writes of more than one range: the coordinator sends those
//! separately.

mod error;
mod requests;
mod responses;
mod txn_meta;

pub use error::{KvError, RetryReason, WireError, error_detail};
pub use requests::*;
pub use responses::*;
pub use txn_meta::{LockStrength, SequenceSpan, TxnId, TxnMeta, TxnStatus};

use async_trait::async_trait;

/// Sends batches to wherever their keys live.
#[async_trait]
pub trait Sender: Send + Sync + 'static {
    /// Evaluates the batch, or says why not.
    ///
    /// # Errors
    /// Any [`KvError`]; routing errors (`NotLeaseholder`, `RangeMismatch`) only from senders that do not route.
    async fn send(&self, batch: BatchRequest) -> Result<BatchResponse, KvError>;
}
