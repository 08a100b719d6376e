//! CHECK REPLICAS, SHOW RANGE … WHY, and the settings of the cluster.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::sql::sqlparser::ast;

use super::super::statement::StatementKind;
use super::super::{Column, Outcome, Row, RowStream, RowsTag, Session};
use crate::catalog::{readable_end, readable_key};
use crate::error::{SqlError, code};
use crate::types::{Datum, PgType};

/// What the rows of such a statement consist of; `None` when it has none.
pub(super) fn columns(kind: &StatementKind) -> Option<Arc<[Column]>> {
    let text = |name: &str| Column::computed(name, PgType::Text);
    match kind {
        StatementKind::CheckReplicas { .. } => Some(Arc::from([
            Column::computed("range_id", PgType::Int8),
            text("start_key"),
            text("end_key"),
            text("status"),
            text("detail"),
        ])),
        StatementKind::ExplainRange { .. } => Some(Arc::from([
            Column::computed("node_id", PgType::Int8),
            Column::computed("at", PgType::TimestampTz),
            text("action"),
            text("reason"),
        ])),
        StatementKind::ShowClusterSettings { name: Some(name) } => Some(Arc::from([text(name)])),
        StatementKind::ShowClusterSettings { name: None } => {
            Some(Arc::from([text("variable"), text("value"), text("description")]))
        }
        _ => None,
    }
}

impl Session {
    pub(super) async fn run_cluster_statement(&mut self, kind: &StatementKind) -> Result<Outcome, SqlError> {
        let (rows, tag) = match kind {
            StatementKind::CheckReplicas { table } => (self.check_replicas(table.as_ref()).await?, "CHECK REPLICAS"),
            StatementKind::ExplainRange { range_id } => (self.explain_range(*range_id).await?, "SHOW"),
            StatementKind::ShowClusterSettings { name } => (self.cluster_settings(name.as_deref())?, "SHOW"),
            StatementKind::SetClusterSetting { name, value } => {
                if self.open.explicit {
                    let message = "SET CLUSTER SETTING cannot run inside a transaction block";
                    return Err(SqlError::new(code::ACTIVE_SQL_TRANSACTION, message));
                }
                self.shared.cluster.set_setting(name, value.as_deref()).await?;
                return Ok(Outcome::Command { tag: "SET CLUSTER SETTING".to_owned() });
            }
            _ => return Err(SqlError::internal("not a statement about the cluster")),
        };
        let (columns, rows) = (columns(kind).unwrap_or_else(|| Arc::from([])), RowStream::few(rows));
        Ok(Outcome::Rows { columns, rows, tag: RowsTag::Fixed(tag) })
    }

    async fn check_replicas(&mut self, table: Option<&ast::ObjectName>) -> Result<Vec<Row>, SqlError> {
        let (start, end) = match table {
            None => (Bytes::from_static(txn::keys::MIN), Bytes::from_static(txn::keys::MAX)),
            Some(name) => self.shown_table(name)?.span(),
        };
        let checked = self.shared.cluster.check(start, end).await?;
        let catalog = self.running(Arc::from([])).catalog;
        let row = |range: crate::node::CheckView| {
            vec![
                Datum::Int8(range.range_id as i64),
                Datum::Text(readable_key(&catalog, &range.start)),
                Datum::Text(readable_end(&catalog, &range.end)),
                Datum::Text(range.status.to_owned()),
                Datum::Text(range.detail),
            ]
        };
        Ok(checked.into_iter().map(row).collect())
    }

    /// What was decided about a range lately, and what would be decided now, whose time is NULL.
    async fn explain_range(&self, range_id: u64) -> Result<Vec<Row>, SqlError> {
        let decisions = self.shared.cluster.explain_range(range_id).await?;
        let row = |decision: crate::node::DecisionView| {
            vec![
                Datum::Int8(decision.node_id as i64),
                decision.at.map_or(Datum::Null, Datum::TimestampTz),
                Datum::Text(decision.action),
                Datum::Text(decision.reason),
            ]
        };
        Ok(decisions.into_iter().map(row).collect())
    }

    fn cluster_settings(&self, name: Option<&str>) -> Result<Vec<Row>, SqlError> {
        let settings = self.shared.cluster.settings();
        let text = |text: &str| Datum::Text(text.to_owned());
        let Some(name) = name else {
            let row = |setting: crate::node::SettingView| {
                vec![text(setting.name), Datum::Text(setting.value), text(setting.description)]
            };
            return Ok(settings.into_iter().map(row).collect());
        };
        let found = settings.into_iter().find(|setting| setting.name == name);
        let found = found.ok_or_else(|| SqlError::no_cluster_setting(name))?;
        Ok(vec![vec![Datum::Text(found.value)]])
    }
}
