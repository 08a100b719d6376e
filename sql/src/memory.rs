//! What statements and sessions hold in memory, counted whole.
//!
//! ```text
//!   operators ── reserve ──────────▶ Account ──▶ the node's pool, which refuses what is too much: spilled, or 53200
//!   the thread's allocations ── settle() ──▶ Account: what is held and nobody has reserved, reserved as well      ▲
//!   sessions, connections ── hold(bytes) ──▶ ClientMemory: all of its holds, beyond what every client may ────────┘
//! ```
//!
//! The library's sorts, joins and groups reserve what they hold; its windows, work tables and arrays taken apart do not, nor does what
//! a function makes of one row. A query has a thread of its own, so what that thread has allocated and not freed is what the query
//! holds, whoever holds it. It is looked at wherever a query looks whether to go on ([`crate::interrupt`]). What passes from thread to
//! thread is counted by those who keep it: a [`Hold`] says how much, and gives it back when it is dropped.
//!
//! What can grow with a statement or a session, and how it is kept in bounds:
//!
//! | what | how |
//! |---|---|
//! | operators, functions, plans of queries; EXPLAIN ANALYZE | the query's [`Account`] |
//! | a message that is not there whole yet | a hold of the connection for its length; refused, it is passed over |
//! | a text's statements: tokens, trees, plans; prepared statements, in a portal too | a hold for as many bytes as its text and tokens take, as long as any of them is kept |
//! | literals and parameters | with their text; a hold of each portal |
//! | rows on their way to the client, a suspended portal's among them | pieces of [`PIECE_BYTES`]; larger rows by a hold of the stream, with what encoding them takes |
//! | rows that RETURNING gives, rows found before the first is changed, keys that ON CONFLICT has touched | holds of the statement |
//! | rows of VALUES, of COPY in and out | built, cut and written by pieces; a line of COPY by a hold |
//! | writes of a transaction | at most its buffer, a hold of the session between statements; without room it is spilled |
//! | settings, savepoints, names of prepared statements and portals | holds of the session |
//! | what a client has not read | sent once there is a buffer of it, after every message |
//! | the statement that others are told of | its beginning only |
//!
//! Nobody takes all of the pool: a query, or a client, may hold so much more only as long as it holds at most [`SHARE`] times what is left
//! then. One that takes what it can get leaves a quarter; the next, three quarters of that at most; and what needs little finds it.
//!
//! Invariants:
//! - `held_is_reserved`: what a query holds on its thread is reserved, but for [`SLACK_BYTES`] and what it allocates between two looks.
//! - What a client has holds for is reserved, but for [`FREE_BYTES`].
//! - `some_is_left`: who grows holds at most [`SHARE`] times what is left.
//!
//! Source: Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches" (1998).
//!
//! Deliberately not counted: what the storage engine allocates on a query's thread while it reads, most of which is its block cache's;
//! the catalog, which all sessions share and which grows with what is in it; what the layers below have under way for a request, which
//! they bound by its bytes.

mod hold;

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::ThreadId;

use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};
use parking_lot::Mutex;

pub use hold::{ClientMemory, Hold};

/// Rows are handed on, and written, in pieces of about so much.
pub(crate) const PIECE_BYTES: usize = 256 << 10;
/// What a client may hold without having reserved it, so that what is small is never refused.
const FREE_BYTES: usize = 1 << 20;
/// What a query may hold without having reserved it: its plan, and batches between operators.
const SLACK_BYTES: i64 = 4 << 20;
/// How many times what is left somebody may hold who asks for more.
const SHARE: usize = 3;
/// A change of less than this is not worth a look.
const STEP_BYTES: i64 = 1 << 20;

/// Bytes that the calling thread has allocated and not freed; less than zero where it has freed what others allocated.
pub type Meter = fn() -> i64;

static METER: OnceLock<Meter> = OnceLock::new();

/// Says how to find out what a thread holds; the first one stays. Without one, only what operators reserve is counted.
pub fn install_meter(meter: Meter) {
    let _ = METER.set(meter);
}

fn held_by_thread() -> Option<i64> {
    METER.get().map(|meter| meter())
}

/// Whether somebody who holds so much may hold so much more, and others still find room.
fn leaves_room(pool: &dyn MemoryPool, held: usize, more: usize) -> Result<()> {
    let MemoryLimit::Finite(limit) = pool.memory_limit() else { return Ok(()) };
    let left = limit.saturating_sub(pool.reserved()).saturating_sub(more);
    if held.saturating_add(more) <= left.saturating_mul(SHARE) {
        return Ok(());
    }
    Err(DataFusionError::ResourcesExhausted(format!(
        "{more} bytes more are refused to what holds {held}: {left} of {limit} would be left for others"
    )))
}

/// What one query holds.
pub(crate) struct Account {
    pool: Arc<dyn MemoryPool>,
    /// What its operators have reserved.
    reserved: AtomicUsize,
    /// What it holds beyond that and has reserved.
    rest_reserved: AtomicUsize,
    /// What the thread held at the last look.
    seen: AtomicI64,
    rest: Mutex<Rest>,
}

/// What is held beyond what is reserved.
struct Rest {
    /// Whose allocations are the query's.
    thread: ThreadId,
    /// What the thread held before the query, or less.
    before: i64,
    reservation: MemoryReservation,
}

impl Account {
    /// Of a query that runs on the calling thread.
    pub fn open(pool: &Arc<dyn MemoryPool>) -> Arc<Account> {
        let before = held_by_thread().unwrap_or(0);
        let reservation = MemoryConsumer::new("what a query holds").register(pool);
        let rest = Mutex::new(Rest { thread: std::thread::current().id(), before, reservation });
        let (reserved, rest_reserved) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Account { pool: pool.clone(), reserved, rest_reserved, seen: AtomicI64::new(before), rest })
    }

    /// Whether the query may hold so much more.
    fn may_hold(&self, more: usize) -> Result<()> {
        let held = self.reserved.load(Ordering::Relaxed) + self.rest_reserved.load(Ordering::Relaxed);
        leaves_room(&*self.pool, held, more)
    }

    /// Reserves what is held and not reserved yet, and gives back what is no longer held.
    ///
    /// # Errors
    /// When the pool refuses.
    pub fn settle(&self) -> Result<()> {
        let Some(held) = held_by_thread() else { return Ok(()) };
        if (held - self.seen.load(Ordering::Relaxed)).abs() < STEP_BYTES {
            return Ok(());
        }
        let mut rest = self.rest.lock();
        if rest.thread != std::thread::current().id() {
            return Ok(());
        }
        self.seen.store(held, Ordering::Relaxed);
        rest.before = rest.before.min(held);
        let reserved = i64::try_from(self.reserved.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        let rest_bytes = (held - rest.before).saturating_sub(reserved).saturating_sub(SLACK_BYTES);
        let rest_bytes = usize::try_from(rest_bytes).unwrap_or(0);
        if let Some(more @ 1..) = rest_bytes.checked_sub(rest.reservation.size()) {
            self.may_hold(more)?;
        }
        rest.reservation.try_resize(rest_bytes)?;
        self.rest_reserved.store(rest_bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Whether so much more could be reserved.
    ///
    /// # Errors
    /// When the pool would refuse.
    pub fn room_for(&self, bytes: usize) -> Result<()> {
        if bytes < STEP_BYTES as usize {
            return Ok(());
        }
        self.may_hold(bytes)?;
        let rest = self.rest.lock();
        rest.reservation.try_grow(bytes)?;
        rest.reservation.shrink(bytes);
        Ok(())
    }

    /// Does some work whose allocations are somebody else's, but for what the value is made of: so many bytes.
    pub fn aside<T>(&self, work: impl FnOnce() -> T, own_bytes: impl FnOnce(&T) -> usize) -> T {
        let before = held_by_thread();
        let value = work();
        if let (Some(before), Some(after)) = (before, held_by_thread()) {
            let mut rest = self.rest.lock();
            if rest.thread == std::thread::current().id() {
                let others = after - before - i64::try_from(own_bytes(&value)).unwrap_or(0);
                rest.before += others;
                self.seen.fetch_add(others, Ordering::Relaxed);
            }
        }
        value
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("reserved", &self.reserved).finish_non_exhaustive()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a query's account")
    }
}

impl MemoryPool for Account {
    fn name(&self) -> &str {
        "account"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.pool.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.pool.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.pool.grow(reservation, additional);
        self.reserved.fetch_add(additional, Ordering::Relaxed);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.pool.shrink(reservation, shrink);
        self.reserved.fetch_sub(shrink, Ordering::Relaxed);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.may_hold(additional)?;
        self.pool.try_grow(reservation, additional)?;
        self.reserved.fetch_add(additional, Ordering::Relaxed);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.pool.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.pool.memory_limit()
    }
}

#[cfg(test)]
mod tests;
