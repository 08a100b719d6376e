//! TRUNCATE: every index gets a new, empty place; the old ones are cleared after the commit.

use datafusion::sql::sqlparser::ast;

use crate::bind::name_parts;
use crate::error::SqlError;
use crate::session::{Outcome, Session, done};

impl Session {
    pub(super) async fn truncate(&mut self, truncate: &ast::Truncate) -> Result<Outcome, SqlError> {
        self.handle().await?;
        for target in &truncate.table_names {
            let table = self.table_to_change(&name_parts(&target.name)?).await?;
            let mut descriptor = table.descriptor().clone();
            let old: Vec<u32> = descriptor.all_indexes().map(|index| index.index_id).collect();
            self.move_indexes(&mut descriptor).await?;
            let new: Vec<u32> = descriptor.all_indexes().map(|index| index.index_id).collect();
            let sequences: Vec<u32> = descriptor.columns.iter().filter_map(|column| column.sequence_id).collect();
            let table = self.put_table(descriptor).await?;
            old.into_iter().for_each(|index| self.mark_stale(table.id, index));
            new.into_iter().for_each(|index| self.mark_fresh(table.id, index));
            if matches!(truncate.identity, Some(ast::TruncateIdentityOption::Restart)) {
                for id in sequences {
                    self.restart_sequence(id).await?;
                }
            }
        }
        done("TRUNCATE TABLE")
    }

    async fn restart_sequence(&mut self, id: u32) -> Result<(), SqlError> {
        let (_, catalog, _) = self.ddl();
        if let Some(sequence) = catalog.sequence(id) {
            self.shared.sequences.set(sequence, sequence.start, false).await?;
            self.sequences().forget(id);
        }
        Ok(())
    }
}
