//! A range's data on its way to another node, and its switch into place there.
//!
//! ```text
//!   source   a view of the engine ─▶ chunk {descriptor, entries} ─▶ chunk {entries} …
//!
//!   sink     first chunk: the span is claimed
//!            small: kept in memory ─────────────────────▶ one batch: old out, new in
//!            large: \x01 i <range> z d <install> <key>   staged beside the live data
//!                   \x01 i <range> z m                   mark: from here on the switch rolls forward, crash or not
//!                   old out, new in, batch by batch ─▶ record, mark removed ─▶ staging cleared
//!            meanwhile the replica serves nothing, and then reads its bounds and threshold anew
//! ```
//!
//! Invariants: `install_rolls_forward` (a marked install is completed by [`complete_marked`] before its replica starts;
//! an unmarked one leaves nothing but staging to clear); `span_claimed` (data is never installed over the span of another
//! range of the same store: a split that is still to be applied here owns it, or a removal that still clears it);
//! `half_installed_is_unseen` (no request is evaluated from the first byte replaced until the bounds and the threshold that belong
//! to the new data are in force).

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use prost::Message;
use raft_groups::{AppliedState, SnapshotSink, SnapshotSource, StateMachineError};

use super::data::{self, EngineSpan, Steps};
use crate::descriptor::RangeDescriptor;
use crate::engine::{Engine, EngineError, Reader, WriteBatch};
use crate::keys::{self, RangeLocal};
use crate::replica::{RangeState, ReplicaRecord};

#[cfg(test)]
mod tests;

/// A piece of a snapshot.
#[derive(Clone, PartialEq, Message)]
struct Chunk {
    /// In the first piece: which range it is.
    #[prost(message, optional, tag = "1")]
    descriptor: Option<RangeDescriptor>,
    /// Engine entries.
    #[prost(message, required, tag = "2")]
    entries: WriteBatch,
}

/// That an install must be completed.
#[derive(Clone, PartialEq, Message)]
struct InstallMark {
    /// Under which name it was staged.
    #[prost(fixed64, tag = "1")]
    install_id: u64,
    /// The replica it is for.
    #[prost(uint64, tag = "2")]
    replica_id: u64,
    /// The range afterwards.
    #[prost(message, required, tag = "3")]
    descriptor: RangeDescriptor,
    /// The range before; its data goes.
    #[prost(message, required, tag = "4")]
    former: RangeDescriptor,
}

fn mark_key(range_id: u64) -> Bytes {
    staging_prefix(range_id, b'm', &[])
}

fn staging_prefix(range_id: u64, kind: u8, rest: &[u8]) -> Bytes {
    [&keys::range_local(range_id, RangeLocal::Staging)[..], &[kind], rest].concat().into()
}

fn staged_span(range_id: u64, install_id: u64) -> EngineSpan {
    let prefix = staging_prefix(range_id, b'd', &install_id.to_be_bytes());
    let end = keys::prefix_end(&prefix);
    (prefix, end)
}

/// A consistent view of a range, read chunk by chunk.
pub(super) struct RangeSource {
    reader: Arc<dyn Reader>,
    state: RangeState,
    spans: Vec<EngineSpan>,
    /// Which span, and from where in it; `None` before the first chunk.
    position: Option<(usize, Bytes)>,
}

impl RangeSource {
    /// Opens a view of what the engine holds of the range now.
    ///
    /// # Errors
    /// When the engine fails, or holds no replica of the range.
    pub fn open(engine: &dyn Engine, range_id: u64) -> Result<Self, StateMachineError> {
        let reader: Arc<dyn Reader> = engine.snapshot().into();
        let (_, state) = RangeState::load(&*reader, range_id)
            .map_err(StateMachineError::new)?
            .ok_or_else(|| StateMachineError::new(format!("the store holds no data of range {range_id}")))?;
        let mut spans = vec![data::id_span(range_id)];
        spans.extend(data::key_spans(&state.descriptor));
        Ok(RangeSource { reader, state, spans, position: None })
    }
}

#[async_trait]
impl SnapshotSource for RangeSource {
    fn applied_state(&self) -> AppliedState {
        self.state.applied.clone()
    }

    async fn next_chunk(&mut self) -> Result<Option<Bytes>, StateMachineError> {
        let is_first = self.position.is_none();
        let (mut span, mut start) = self.position.take().unwrap_or_else(|| (0, self.spans[0].0.clone()));
        let mut chunk = Chunk { descriptor: is_first.then(|| self.state.descriptor.clone()), ..Chunk::default() };
        while let Some((_, end)) = self.spans.get(span) {
            let (entries, next) = data::page(&*self.reader, &start, end).map_err(StateMachineError::new)?;
            entries.into_iter().for_each(|(key, value)| chunk.entries.put(key, value));
            match next {
                Some(next) => {
                    start = next;
                    break;
                }
                None => {
                    span += 1;
                    start = self.spans.get(span).map(|(start, _)| start.clone()).unwrap_or_default();
                }
            }
        }
        self.position = Some((span, start));
        let is_empty = chunk.entries.is_empty() && !is_first;
        Ok((!is_empty).then(|| Bytes::from(chunk.encode_to_vec())))
    }
}

/// What a sink asks of the store whose replica it is for.
pub(super) trait InstallHost: Send + Sync + 'static {
    /// The replica's bounds so far; without replicas when it has none.
    fn former(&self) -> RangeDescriptor;

    /// Claims the span of the data, unless something stands in the way: the sentence says what.
    fn claim(&self, descriptor: &RangeDescriptor) -> Result<(), String>;

    /// The data is about to be replaced: from now on nothing is served from it.
    ///
    /// # Errors
    /// When the snapshot has come too late: the words say why.
    fn begin_switch(&self, descriptor: &RangeDescriptor) -> Result<(), String>;

    /// The data is in place.
    ///
    /// # Errors
    /// When it cannot be read.
    fn installed(&self, descriptor: &RangeDescriptor) -> Result<(), StateMachineError>;

    /// The snapshot is given up, and what was staged of it, if anything, is to be cleared.
    fn abandoned(&self, range_id: u64, staged: Option<EngineSpan>);
}

/// A snapshot on its way in.
pub(super) struct RangeSink {
    pub steps: Steps,
    pub host: Arc<dyn InstallHost>,
    /// The replica it is for.
    pub replica_id: u64,
    pub range_id: u64,
    pub install_id: u64,
    /// Bytes kept in memory at most.
    pub batch_bytes: usize,
    pub state: SinkState,
}

/// How far a sink is.
#[derive(Default)]
pub(super) struct SinkState {
    descriptor: Option<RangeDescriptor>,
    kept: WriteBatch,
    kept_bytes: usize,
    is_staged: bool,
    /// From here on there is no way back.
    is_switching: bool,
}

impl RangeSink {
    /// Moves what is kept in memory to the staging area.
    async fn stage(&mut self) -> Result<(), EngineError> {
        self.state.is_staged = true;
        self.state.kept_bytes = 0;
        let (prefix, _) = staged_span(self.range_id, self.install_id);
        let kept = std::mem::take(&mut self.state.kept);
        if kept.is_empty() {
            return Ok(());
        }
        let put_aside = move |engine: &dyn Engine| {
            let mut batch = WriteBatch::new();
            for op in kept.ops {
                batch.put([&prefix[..], &op.key[..]].concat(), op.value.unwrap_or_default());
            }
            engine.write(batch)
        };
        self.steps.run(put_aside).await
    }

    /// One batch does it all, if both the old and the new data are small.
    async fn install_at_once(&mut self, descriptor: &RangeDescriptor) -> Result<bool, EngineError> {
        if self.state.is_staged {
            return Ok(false);
        }
        let mut spans = vec![data::id_span(self.range_id)];
        spans.extend(data::key_spans(&self.host.former()));
        spans.extend(data::key_spans(descriptor));
        let old = self.steps.run(move |engine| data::few_keys(&*engine.snapshot(), &spans)).await?;
        let Some(old) = old else { return Ok(false) };
        let mut batch = WriteBatch::new();
        old.into_iter().for_each(|key| batch.delete(key));
        batch.append(std::mem::take(&mut self.state.kept));
        put_record(self.replica_id, descriptor, &mut batch);
        self.steps.run(move |engine| engine.write(batch)).await?;
        Ok(true)
    }

    async fn install_staged(&mut self, descriptor: &RangeDescriptor) -> Result<(), EngineError> {
        self.stage().await?;
        let mark = InstallMark {
            install_id: self.install_id,
            replica_id: self.replica_id,
            descriptor: descriptor.clone(),
            former: self.host.former(),
        };
        let mut batch = WriteBatch::new();
        batch.put(mark_key(self.range_id), mark.encode_to_vec());
        self.steps.run(move |engine| engine.write(batch)).await?;
        roll_forward(&self.steps, &mark).await
    }
}

impl Drop for RangeSink {
    fn drop(&mut self) {
        if !self.state.is_switching {
            let staged = self.state.is_staged.then(|| staged_span(self.range_id, self.install_id));
            self.host.abandoned(self.range_id, staged);
        }
    }
}

#[async_trait]
impl SnapshotSink for RangeSink {
    async fn write_chunk(&mut self, chunk: Bytes) -> Result<(), StateMachineError> {
        let chunk = Chunk::decode(chunk).map_err(StateMachineError::refused)?;
        if let Some(descriptor) = chunk.descriptor {
            if descriptor.range_id != self.range_id {
                return Err(StateMachineError::refused("the snapshot is of another range"));
            }
            self.host.claim(&descriptor).map_err(StateMachineError::refused)?;
            self.state.descriptor = Some(descriptor);
        }
        self.state.kept_bytes += chunk.entries.size_bytes();
        self.state.kept.append(chunk.entries);
        if self.state.kept_bytes > self.batch_bytes {
            self.stage().await.map_err(StateMachineError::new)?;
        }
        Ok(())
    }

    async fn prepare(&mut self) -> Result<(), StateMachineError> {
        if self.state.descriptor.is_none() {
            return Err(StateMachineError::refused("the snapshot names no range"));
        }
        if self.state.is_staged {
            self.stage().await.map_err(StateMachineError::new)?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<(), StateMachineError> {
        let Some(descriptor) = self.state.descriptor.take() else {
            return Err(StateMachineError::refused("the snapshot names no range"));
        };
        self.host.begin_switch(&descriptor).map_err(StateMachineError::refused)?;
        self.state.is_switching = true;
        if !self.install_at_once(&descriptor).await.map_err(StateMachineError::new)? {
            self.install_staged(&descriptor).await.map_err(StateMachineError::new)?;
        }
        self.steps.sync().await.map_err(StateMachineError::new)?;
        self.host.installed(&descriptor)
    }
}

/// Says that this store holds this replica of the range.
pub(super) fn put_record(replica_id: u64, descriptor: &RangeDescriptor, batch: &mut WriteBatch) {
    let record = ReplicaRecord { replica_id, descriptor: descriptor.clone() };
    batch.put(keys::range_local(descriptor.range_id, RangeLocal::Replica), record.encode_to_vec());
}

/// Puts a marked install into place. Doing it twice is doing it once, until the mark is gone.
async fn roll_forward(steps: &Steps, mark: &InstallMark) -> Result<(), EngineError> {
    let range_id = mark.descriptor.range_id;
    let mut spans = vec![data::id_span(range_id)];
    spans.extend(data::key_spans(&mark.former));
    spans.extend(data::key_spans(&mark.descriptor));
    steps.clear(&spans).await?;
    let (prefix, end) = staged_span(range_id, mark.install_id);
    let mut next = Some(prefix.clone());
    while let Some(start) = next {
        let (prefix, end) = (prefix.clone(), end.clone());
        let put_into_place = move |engine: &dyn Engine| {
            let (entries, next) = staged_page(&*engine.snapshot(), &start, &end)?;
            let mut batch = WriteBatch::new();
            entries.into_iter().for_each(|(key, value)| batch.put(key.slice(prefix.len()..), value));
            engine.write(batch).map(|()| next)
        };
        next = steps.run(put_into_place).await?;
    }
    let mut batch = WriteBatch::new();
    put_record(mark.replica_id, &mark.descriptor, &mut batch);
    batch.delete(mark_key(range_id));
    steps.run(move |engine| engine.write(batch)).await?;
    steps.clear_all(&[(prefix, end)]).await
}

/// Whether a snapshot of the range is half-way in place: what the engine holds of it is neither the old data nor the new.
///
/// # Errors
/// When the engine fails.
pub fn is_half_installed(reader: &dyn Reader, range_id: u64) -> Result<bool, EngineError> {
    Ok(reader.get(&mark_key(range_id))?.is_some())
}

/// As [`data::page`], of staged entries.
fn staged_page(
    reader: &dyn Reader,
    start: &[u8],
    end: &[u8],
) -> Result<(Vec<(Bytes, Bytes)>, Option<Bytes>), EngineError> {
    let mut cursor = reader.cursor(start, end, false);
    let mut entries = Vec::new();
    while cursor.advance()? {
        if entries.len() >= 4_096 {
            return Ok((entries, Some(Bytes::copy_from_slice(cursor.key()))));
        }
        entries.push((Bytes::copy_from_slice(cursor.key()), cursor.value_bytes()));
    }
    Ok((entries, None))
}

/// At start: completes the marked install of a range, if there is one, and clears what others left in staging.
///
/// # Errors
/// When the engine fails; the replica must not start then.
pub(super) async fn complete_marked(steps: &Steps, range_id: u64) -> Result<(), EngineError> {
    let marked = steps.engine.snapshot().get(&mark_key(range_id))?;
    if let Some(bytes) = marked {
        let mark = InstallMark::decode(bytes)
            .map_err(|error| EngineError::Corrupt(format!("install mark of range {range_id}: {error}")))?;
        roll_forward(steps, &mark).await?;
        steps.sync().await?;
    }
    let prefix = staging_prefix(range_id, b'd', &[]);
    let end = keys::prefix_end(&prefix);
    steps.clear_all(&[(prefix, end)]).await
}
