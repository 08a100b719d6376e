//! Text to rows.

mod apart;
pub mod arrow;
mod bind;
pub mod catalog;
pub mod copy;
mod ddl;
mod dml;
pub mod error;
mod explain;
mod fastpath;
pub mod functions;
mod interrupt;
mod memory;
pub mod node;
pub mod pg_catalog;
pub mod query;
pub mod rowcodec;
mod scalar;
pub mod select;
pub mod session;
mod stack;
pub mod types;

pub use copy::{CopyFormat, CopyIn};
pub use error::SqlError;
pub use memory::{ClientMemory, Hold, Meter, install_meter};
pub use node::{
    CheckView, ClusterView, DEFAULT_QUERY_MEMORY_BYTES, DecisionView, NodeView, RangeView, SettingView, SqlNode,
    SqlNodeConfig, SqlSettings,
};
pub use query::{ExplainOptions, QueryContext, QueryPlan, QueryPlanner};
pub use select::Planner;
pub use session::{
    CancelToken, Column, CopyChunk, CopyStream, ExecuteOptions, Notice, Outcome, Prepared, Row, RowStream, RowsTag,
    Session, SessionParams, SessionView, Statement, Timeouts, TransactionStatus,
};
