//! ALTER TABLE … SPLIT AT VALUES.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::sql::sqlparser::ast::{Expr, ObjectName};

use crate::bind::{Binder, ParamTypes, Scope, name_parts};
use crate::catalog::readable_key;
use crate::dml::codec::{check_size, put_key};
use crate::error::SqlError;
use crate::session::{Column, Outcome, RowStream, RowsTag, Session, Statement, find_table};
use crate::types::{Datum, PgType};

impl Session {
    pub(crate) async fn split_at(
        &mut self,
        statement: &Statement,
        name: &ObjectName,
        rows: &[Vec<Expr>],
        params: &Arc<[Datum]>,
    ) -> Result<Outcome, SqlError> {
        let running = self.running(params.clone());
        let table = find_table(&running.catalog, &running.view, &name_parts(name)?)?;
        let mut keys = Vec::with_capacity(rows.len());
        for row in rows {
            if row.is_empty() || row.len() > table.primary.columns.len() {
                return Err(SqlError::syntax(format!(
                    "SPLIT AT needs up to {} values, for the columns of the primary key",
                    table.primary.columns.len()
                )));
            }
            let mut key = txn::keys::index_prefix(u64::from(table.id), u64::from(table.primary.index_id));
            for ((expr, position), part) in row.iter().zip(&table.primary_positions).zip(&table.primary.columns) {
                let column = &table.columns[*position];
                let (mut types, scope) = (ParamTypes::default(), Scope::default());
                let mut binder = Binder::new(&running.catalog, &running.view, &scope, &statement.text, &mut types);
                let value = binder.bind_assigned(expr, &column.name, column.ty, column.typmod)?;
                put_key(&mut key, &value.eval(&running.eval_context())?, column.ty, part)?;
            }
            check_size(&key, &table, &table.primary)?;
            keys.push(Bytes::from(key));
        }
        let mut split = Vec::with_capacity(keys.len());
        for key in keys {
            self.shared.cluster.split_at(key.clone()).await?;
            split.push(vec![Datum::Text(readable_key(&running.catalog, &key))]);
        }
        Ok(Outcome::Rows {
            columns: Arc::from([Column::computed("key", PgType::Text)]),
            rows: RowStream::few(split),
            tag: RowsTag::Fixed("ALTER TABLE"),
        })
    }
}
