//! The cluster as SQL asks for it: `SHOW RANGES`, `SHOW NODES`, `SPLIT AT`.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use kv::api::Span;
use kv::node::Admin;
use sql::{ClusterView, NodeView, RangeView, SqlError};

struct View(Arc<dyn Admin>);

/// The view on a node's cluster.
pub(super) fn of(admin: Arc<dyn Admin>) -> Arc<dyn ClusterView> {
    Arc::new(View(admin))
}

#[async_trait]
impl ClusterView for View {
    async fn ranges(&self, start: Bytes, end: Bytes) -> Result<Vec<RangeView>, SqlError> {
        let ranges =
            self.0.ranges(Span { start, end }).await.map_err(|error| SqlError::from(txn::Error::from(error)))?;
        Ok(ranges
            .into_iter()
            .map(|range| RangeView {
                range_id: range.descriptor.range_id,
                start: range.descriptor.start,
                end: range.descriptor.end,
                replicas: range.descriptor.replicas.iter().map(|replica| replica.node_id).collect(),
                leaseholder: range.leaseholder,
                bytes: range.bytes,
                keys: range.keys,
            })
            .collect())
    }

    fn nodes(&self) -> Vec<NodeView> {
        let nodes = self.0.nodes().into_iter();
        nodes
            .map(|node| NodeView {
                node_id: node.descriptor.node_id,
                address: node.descriptor.sql_address,
                locality: node.descriptor.locality.to_string(),
                live: node.live,
            })
            .collect()
    }

    async fn split_at(&self, key: Bytes) -> Result<(), SqlError> {
        self.0.split_at(key).await.map(|_| ()).map_err(|error| SqlError::from(txn::Error::from(error)))
    }
}
