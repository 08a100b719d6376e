//! Room on the stack for statements that nest deeply, and a hold on panics.
//!
//! ```text
//!   text ─ parse ─▶ tree ─ levels ─▶ more than LEVELS_MAX: 54001
//!                    │
//!                    └─ bound, planned, executed, dropped: each with room for its levels
//!                         stack at hand suffices ─▶ there        else ─▶ on a mapped one, unmapped at the end
//! ```
//!
//! Trees of expressions and plans are walked by recursion: by us, by the parser, by the planner library, and by whatever clones,
//! compares and drops them. None of that can be told to use less stack, so it is given enough: so many bytes for each level that the
//! statement has. Mapped memory that is not touched costs nothing.
//!
//! Invariants:
//! - `depth_is_bounded`: no tree of a statement has more levels than were measured when it was parsed, and none more than [`LEVELS_MAX`].
//! - `panic_ends_statement`: a panic while a statement is parsed, planned or executed is an error of that statement (XX000), and is logged; so
//!   is one at COMMIT, but whether that has happened is not known (40003).
//!
//! Knows nothing of what the levels are of: see [`crate::session`] for how they are measured.

use std::any::Any;
use std::future::Future;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;

use crate::error::{SqlError, code};

/// The most levels that a statement may have: some more than PostgreSQL follows with the stack it has by default.
pub(crate) const LEVELS_MAX: usize = 5_000;
/// The most levels of an expression that a table keeps: it is evaluated and dropped beside statements that were measured without it.
pub(crate) const KEPT_LEVELS_MAX: usize = 500;
/// What a level is given. The largest frames are the planner library's, of a subquery in FROM, which counts as several levels.
const LEVEL_BYTES: usize = if cfg!(debug_assertions) { 40 << 10 } else { 20 << 10 };
/// What a statement takes besides: the frames below the ones that recur.
const BASE_BYTES: usize = 384 << 10;

/// What a client is told of a panic.
pub(crate) const PANICKED: &str = "internal error";

/// 54001: there are too many levels.
pub(crate) fn too_deep() -> SqlError {
    SqlError::new(code::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
        .hint(format!("A statement may nest {LEVELS_MAX} levels deep. Write it with fewer."))
}

/// Does work on trees of so many levels where there is room for it.
pub(crate) fn with_room<T>(levels: usize, work: impl FnOnce() -> T) -> T {
    let bytes = BASE_BYTES + levels * LEVEL_BYTES;
    stacker::maybe_grow(bytes, bytes + BASE_BYTES, work)
}

/// Does the work for one level of what recurs, wherever it was begun.
pub(crate) fn level<T>(work: impl FnOnce() -> T) -> T {
    const RED_ZONE_BYTES: usize = 128 << 10;
    const SEGMENT_BYTES: usize = 2 << 20;
    stacker::maybe_grow(RED_ZONE_BYTES, SEGMENT_BYTES, work)
}

/// Does work on trees of so many levels where there is room for it; a panic is an error.
pub(crate) fn contained<T>(levels: usize, work: impl FnOnce() -> Result<T, SqlError>) -> Result<T, SqlError> {
    let done = catch_unwind(AssertUnwindSafe(|| with_room(levels, work)));
    done.unwrap_or_else(|panic| Err(panicked(&*panic)))
}

/// The same for work that waits. After a panic it leaves behind what a cancelled statement does.
pub(crate) async fn contained_async<T>(
    levels: usize,
    work: impl Future<Output = Result<T, SqlError>>,
) -> Result<T, SqlError> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| with_room(levels, || work.as_mut().poll(context))));
        polled.unwrap_or_else(|panic| Poll::Ready(Err(panicked(&*panic))))
    })
    .await
}

/// XX000: a panic, which is logged. The panic's hook has said where it was.
fn panicked(panic: &(dyn Any + Send)) -> SqlError {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let said = said.unwrap_or("no message");
    tracing::error!(panic = said, "a statement panicked");
    SqlError::internal(PANICKED).detail(said.to_owned())
}

/// A tree that is dropped where there is room for it.
#[derive(Debug)]
pub(crate) struct Deep<T> {
    levels: usize,
    /// There until it is dropped.
    tree: Option<T>,
}

impl<T> Deep<T> {
    /// A tree of so many levels.
    pub fn new(levels: usize, tree: T) -> Self {
        Deep { levels, tree: Some(tree) }
    }

    /// How many levels it has.
    pub fn levels(&self) -> usize {
        self.levels
    }
}

impl<T> Deref for Deep<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.tree.as_ref().expect("it is taken only when this is dropped")
    }
}

impl<T> Drop for Deep<T> {
    fn drop(&mut self) {
        let tree = self.tree.take();
        with_room(self.levels, || drop(tree));
    }
}

/// A stream that computes with trees of so many levels: polled and dropped where there is room; ended by an error when it panics.
pub(crate) struct DeepStream<S> {
    levels: usize,
    /// There until it has panicked, or is dropped.
    inner: Option<S>,
}

impl<S> DeepStream<S> {
    /// Computes with trees of so many levels.
    pub fn new(levels: usize, stream: S) -> Self {
        DeepStream { levels, inner: Some(stream) }
    }
}

impl<S, T> Stream for DeepStream<S>
where
    S: Stream<Item = Result<T, SqlError>> + Unpin,
{
    type Item = Result<T, SqlError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let levels = this.levels;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        let polled = catch_unwind(AssertUnwindSafe(|| with_room(levels, || Pin::new(inner).poll_next(context))));
        polled.unwrap_or_else(|panic| {
            let inner = this.inner.take();
            with_room(levels, || drop(inner));
            Poll::Ready(Some(Err(panicked(&*panic))))
        })
    }
}

impl<S> Drop for DeepStream<S> {
    fn drop(&mut self) {
        let inner = self.inner.take();
        with_room(self.levels, || drop(inner));
    }
}
