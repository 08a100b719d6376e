//! Text to rows.

pub mod error;
pub mod types;

pub use error::SqlError;
