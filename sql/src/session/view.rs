//! What others may see of a session while one of its statements runs.

/// A session's settings, frozen for one statement.
#[derive(Clone, Debug)]
pub struct SessionView {}
