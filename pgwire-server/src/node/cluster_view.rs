//! The cluster as SQL asks for it: `SHOW RANGES`, `SHOW RANGE … WHY`, `SHOW NODES`, `SPLIT AT`, `CHECK REPLICAS`, cluster settings.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use kv::api::Span;
use kv::node::{Admin, SettingError};
use kv::settings::InvalidSetting;
use sql::{CheckView, ClusterView, DecisionView, NodeView, RangeView, SettingView, SqlError};

/// Does not keep the node: a plan that is still being torn down may hold the view.
struct View(Weak<dyn Admin>);

/// The view on a node's cluster.
pub fn of(admin: &Arc<dyn Admin>) -> Arc<dyn ClusterView> {
    Arc::new(View(Arc::downgrade(admin)))
}

impl View {
    fn admin(&self) -> Result<Arc<dyn Admin>, SqlError> {
        let stopped = || kv::api::KvError::unavailable(0, "this node has stopped".to_owned(), Vec::new());
        self.0.upgrade().ok_or_else(|| SqlError::from(txn::Error::from(stopped())))
    }
}

#[async_trait]
impl ClusterView for View {
    async fn ranges(&self, start: Bytes, end: Bytes) -> Result<Vec<RangeView>, SqlError> {
        let ranges =
            self.admin()?.ranges(Span { start, end }).await.map_err(|error| SqlError::from(txn::Error::from(error)))?;
        Ok(ranges
            .into_iter()
            .map(|range| RangeView {
                range_id: range.descriptor.range_id,
                voters: range.descriptor.voters().map(|replica| replica.node_id).collect(),
                live_voters: range.live_voters,
                start: range.descriptor.start,
                end: range.descriptor.end,
                replicas: range.descriptor.replicas.iter().map(|replica| replica.node_id).collect(),
                leaseholder: range.leaseholder,
                bytes: range.bytes,
                keys: range.keys,
                requests: range.requests,
            })
            .collect())
    }

    async fn explain_range(&self, range_id: u64) -> Result<Vec<DecisionView>, SqlError> {
        let decisions = self.admin()?.explain_range(range_id).await.map_err(|error| match error {
            kv::api::KvError::Invalid(invalid) => {
                SqlError::new(sql::error::code::INVALID_PARAMETER_VALUE, invalid.message)
            }
            error => SqlError::from(txn::Error::from(error)),
        })?;
        let view = |decision: kv::node::DecisionInfo| DecisionView {
            node_id: decision.node_id,
            at: decision.at.map(|at| i64::try_from(at.wall_ns / 1_000).unwrap_or(i64::MAX)),
            action: decision.action,
            reason: decision.reason,
        };
        Ok(decisions.into_iter().map(view).collect())
    }

    fn nodes(&self) -> Vec<NodeView> {
        let nodes = self.0.upgrade().map(|admin| admin.nodes()).unwrap_or_default().into_iter();
        nodes
            .map(|node| NodeView {
                node_id: node.descriptor.node_id,
                address: node.descriptor.sql_address,
                locality: node.descriptor.locality.to_string(),
                live: node.live,
                membership: node.membership.word(),
                replicas: node.status.as_ref().map(|status| status.replicas),
                leases: node.status.as_ref().map(|status| status.leases),
                bytes: node.status.as_ref().map(|status| status.bytes),
                requests: node.status.as_ref().map(|status| status.requests),
            })
            .collect()
    }

    async fn split_at(&self, key: Bytes) -> Result<(), SqlError> {
        self.admin()?.split_at(key).await.map(|_| ()).map_err(|error| SqlError::from(txn::Error::from(error)))
    }

    async fn check(&self, start: Bytes, end: Bytes) -> Result<Vec<CheckView>, SqlError> {
        let checked = self.admin()?.check_replicas(Span { start, end }).await;
        let view = |range: kv::node::CheckInfo| CheckView {
            range_id: range.descriptor.range_id,
            start: range.descriptor.start,
            end: range.descriptor.end,
            status: range.status.word(),
            detail: range.detail,
        };
        Ok(checked.map_err(|error| SqlError::from(txn::Error::from(error)))?.into_iter().map(view).collect())
    }

    fn settings(&self) -> Vec<SettingView> {
        let settings = self.0.upgrade().map(|admin| admin.settings()).unwrap_or_default().into_iter();
        let view = |kv::settings::SettingInfo { name, value, description }| SettingView { name, value, description };
        settings.map(view).collect()
    }

    async fn set_setting(&self, name: &str, value: Option<&str>) -> Result<(), SqlError> {
        self.admin()?.set_setting(name, value).await.map_err(|error| match error {
            SettingError::Invalid(InvalidSetting::Unknown(name)) => SqlError::no_cluster_setting(&name),
            SettingError::Invalid(error) => SqlError::new(sql::error::code::INVALID_PARAMETER_VALUE, error.to_string()),
            SettingError::Kv(error) => SqlError::from(txn::Error::from(error)),
        })
    }
}
