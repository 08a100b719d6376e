//! COPY: rows in and out as text or CSV, streamed in bounded memory.

mod input;

pub use input::{CopyFormat, CopyIn};
