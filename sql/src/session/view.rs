//! What others may see of a session while one of its statements runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::types::TypeSettings;

/// A session as one of its transactions sees it. The settings are reached through [`std::ops::Deref`].
#[derive(Clone, Debug)]
pub struct SessionView {
    /// What does not change between transactions.
    pub base: Arc<SessionBase>,
    /// What text forms, casts and `now()` depend on.
    pub types: TypeSettings,
}

/// A session's settings; replaced as a whole when one changes.
#[derive(Clone, Debug)]
pub struct SessionBase {
    /// The user's name.
    pub user: String,
    /// The database's name.
    pub database: String,
    /// The database's OID.
    pub database_id: u32,
    /// Schema names in the order they are searched, those that do not exist included; `pg_catalog` is searched before, unless named.
    pub search_path: Vec<String>,
    /// The zone of [`TypeSettings`].
    pub timezone: crate::types::TimeZone,
    /// `pg_backend_pid()`.
    pub backend_pid: u32,
    /// All settings by name, in order, as SHOW prints them.
    pub settings: BTreeMap<String, String>,
    /// The settings that are times.
    pub timeouts: super::Timeouts,
    /// What `set_config` was called with, until the session takes it in.
    pub asked_settings: AskedSettings,
    /// Randomness.
    pub random: clock::Random,
    /// Where hidden row IDs come from.
    pub row_ids: Arc<RowIds>,
}

/// Settings that functions of a query ask to be changed: name, value, and whether only until the transaction ends.
#[derive(Clone, Debug, Default)]
pub struct AskedSettings(Arc<Mutex<Vec<(String, String, bool)>>>);

impl AskedSettings {
    /// Asks for a change.
    pub fn ask(&self, name: &str, value: &str, local: bool) {
        self.0.lock().push((name.to_owned(), value.to_owned(), local));
    }

    /// What was asked for since the last call, in order.
    pub fn take(&self) -> Vec<(String, String, bool)> {
        std::mem::take(&mut self.0.lock())
    }
}

impl std::ops::Deref for SessionView {
    type Target = SessionBase;
    fn deref(&self) -> &SessionBase {
        &self.base
    }
}

/// Unique row IDs that rise on each node: microseconds of its clock at first, then a counter; the node in the lowest bits.
#[derive(Debug)]
pub struct RowIds {
    node: u64,
    newest: AtomicU64,
}

/// Bits of a row ID that name the node.
const NODE_BITS: u32 = 12;

impl RowIds {
    /// IDs for rows written through this node, above all it has given in a former life, as long as it gave fewer than a
    /// million a second since.
    pub fn new(node: u64, now_ns: u64) -> Self {
        let micros = (now_ns / 1_000) & ((1 << (63 - NODE_BITS)) - 1);
        RowIds { node: node % (1 << NODE_BITS), newest: AtomicU64::new(micros) }
    }

    /// The next one.
    pub fn next(&self) -> i64 {
        let count = self.newest.fetch_add(1, Ordering::Relaxed) + 1;
        ((count << NODE_BITS) | self.node) as i64
    }
}
