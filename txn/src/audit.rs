//! What a gateway promised, told to whoever audits it: trace events of the target `audit`. Nobody listens in production.

use clock::Timestamp;
use kv::api::TxnMeta;

/// A strict transaction has its snapshot.
pub(crate) fn began(meta: &TxnMeta) {
    tracing::trace!(
        target: "audit",
        event = "began",
        node = meta.gateway,
        wall_ns = meta.read_timestamp.wall_ns,
        logical = meta.read_timestamp.logical,
    );
}

/// A strict transaction is about to be acknowledged; its effect is visible from the timestamp on.
pub(crate) fn acknowledged(meta: &TxnMeta, effect: Timestamp) {
    tracing::trace!(
        target: "audit",
        event = "acknowledged",
        node = meta.gateway,
        wall_ns = effect.wall_ns,
        logical = effect.logical,
    );
}
