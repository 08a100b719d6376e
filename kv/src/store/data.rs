//! What a range keeps in the engine ([`crate::replica::extent`]), to copy it, to clear it.
//!
//! Whatever is long is done in [`Steps`]: a node may be ended between any two of them, and what is unfinished then must be found,
//! and gone on with, by its next life.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::Tasks;

use super::DiskGuard;
use crate::engine::{Engine, EngineError, Reader, WriteBatch};
pub(super) use crate::replica::extent::{EngineSpan, id_span, is_own, key_spans};

/// Keys deleted, or copied, in one batch.
const BATCH_KEYS: usize = 4_096;

/// Bytes in one batch.
const BATCH_BYTES: usize = 1 << 20;

/// The next entries of a span from `start` on, up to a batch's worth, less those that are the replica's own; and where
/// to go on, `None` at the end.
pub(super) fn page(
    reader: &dyn Reader,
    start: &[u8],
    end: &[u8],
) -> Result<(Vec<(Bytes, Bytes)>, Option<Bytes>), EngineError> {
    let mut cursor = reader.cursor(start, end, false);
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while cursor.advance()? {
        if is_own(cursor.key()) {
            continue;
        }
        if entries.len() >= BATCH_KEYS || bytes >= BATCH_BYTES {
            return Ok((entries, Some(Bytes::copy_from_slice(cursor.key()))));
        }
        bytes += cursor.key().len() + cursor.value().len();
        entries.push((Bytes::copy_from_slice(cursor.key()), cursor.value_bytes()));
    }
    Ok((entries, None))
}

/// Work on the engine, piece by piece: each where it may block, and between two a point at which others go on, and at which the
/// node may end.
#[derive(Clone)]
pub(super) struct Steps {
    pub engine: Arc<dyn Engine>,
    pub tasks: Tasks,
    pub disk: Arc<DiskGuard>,
}

/// How long a step without room waits before it looks again.
const ROOM_PAUSE: Duration = Duration::from_millis(100);

impl Steps {
    /// Does one piece, once there is room for what it may write.
    ///
    /// # Errors
    /// What the piece returns.
    pub async fn run<T, E>(&self, step: impl FnOnce(&dyn Engine) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        if !self.disk.has_room() {
            tracing::warn!("the store waits for disk space before it goes on with what it installs or clears");
            while !self.disk.has_room() {
                tokio::time::sleep(ROOM_PAUSE).await;
            }
        }
        let engine = self.engine.clone();
        let done = self.tasks.blocking(move || step(&*engine)).await;
        tokio::task::yield_now().await;
        done
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn sync(&self) -> Result<(), EngineError> {
        self.run(|engine| engine.sync()).await
    }

    /// Deletes everything in the spans, batch by batch, except what is the replica's own.
    ///
    /// # Errors
    /// When the engine fails; part may then be deleted.
    pub async fn clear(&self, spans: &[EngineSpan]) -> Result<(), EngineError> {
        self.clear_pieces(spans, false).await
    }

    /// Deletes everything in the spans, batch by batch.
    ///
    /// # Errors
    /// As [`Steps::clear`].
    pub async fn clear_all(&self, spans: &[EngineSpan]) -> Result<(), EngineError> {
        self.clear_pieces(spans, true).await
    }

    async fn clear_pieces(&self, spans: &[EngineSpan], own: bool) -> Result<(), EngineError> {
        for (start, end) in spans {
            let mut next = Some(start.clone());
            while let Some(start) = next {
                let end = end.clone();
                next = self.run(move |engine| clear_piece(engine, &start, &end, own)).await?;
            }
        }
        Ok(())
    }
}

/// Deletes a batch's worth; returns where to go on. What was deleted is not looked at again: the engine remembers it for a while,
/// and a cursor would have to step over all of it each time.
fn clear_piece(engine: &dyn Engine, start: &[u8], end: &[u8], own: bool) -> Result<Option<Bytes>, EngineError> {
    let (keys, next) = keys_of(&*engine.snapshot(), start, end, own)?;
    let mut batch = WriteBatch::new();
    keys.into_iter().for_each(|key| batch.delete(key));
    if !batch.is_empty() {
        engine.write(batch)?;
    }
    Ok(next)
}

/// The keys of a span from `start` on, up to a batch's worth, and where to go on, `None` at the end. With `own`, those that are the
/// replica's own too.
fn keys_of(
    reader: &dyn Reader,
    start: &[u8],
    end: &[u8],
    own: bool,
) -> Result<(Vec<Bytes>, Option<Bytes>), EngineError> {
    let mut cursor = reader.cursor(start, end, false);
    let mut keys = Vec::new();
    while cursor.advance()? {
        if !own && is_own(cursor.key()) {
            continue;
        }
        if keys.len() >= BATCH_KEYS {
            return Ok((keys, Some(Bytes::copy_from_slice(cursor.key()))));
        }
        keys.push(Bytes::copy_from_slice(cursor.key()));
    }
    Ok((keys, None))
}

/// All keys of the spans if they are few, for one atomic batch; `None` if they are many.
pub(super) fn few_keys(reader: &dyn Reader, spans: &[EngineSpan]) -> Result<Option<Vec<Bytes>>, EngineError> {
    let mut all = Vec::new();
    for (start, end) in spans {
        let (keys, more) = keys_of(reader, start, end, false)?;
        if more.is_some() {
            return Ok(None);
        }
        all.extend(keys);
    }
    Ok(Some(all))
}
