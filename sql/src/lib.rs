//! Text to rows.

pub mod arrow;
pub mod copy;
pub mod error;
pub mod pg_catalog;
pub mod rowcodec;
pub mod session;
pub mod types;

pub use copy::{CopyFormat, CopyIn};
pub use error::SqlError;
pub use session::{
    CancelToken, Column, CopyStream, ExecuteOptions, Notice, Outcome, Prepared, Row, RowStream, RowsTag, Session,
    SessionParams, SessionView, Statement, TransactionStatus,
};
