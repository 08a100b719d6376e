//! Text to rows.

pub mod error;

pub use error::SqlError;
