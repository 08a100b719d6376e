//! COPY: rows in and out as text or CSV, streamed in bounded memory.

mod input;

pub use input::{CopyFormat, CopyIn};

use datafusion::sql::sqlparser::ast;

use crate::error::SqlError;
use crate::session::{Outcome, Session, Statement};

impl Session {
    pub(crate) async fn copy(&mut self, statement: &Statement, sql: &ast::Statement) -> Result<Outcome, SqlError> {
        let _ = (statement, sql);
        Err(SqlError::unsupported("COPY"))
    }
}
