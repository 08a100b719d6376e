//! Reads: what the ranges hold at the snapshot, with the transaction's own buffered writes over it.

use bytes::Bytes;
use kv::api::{
    BatchHeader, BatchResponse, Get, KeyValue, LockStrength, Request, RequestKind, Response, ResponseKind, Rows, Scan,
    Span,
};

use super::Transaction;
use crate::Error;
use crate::spans::{point, successor};

/// As many keys are read at first, of which it is not known how much they hold.
const FIRST_KEYS: usize = 128;

/// Which of the transaction's own writes a scan sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnWrites {
    /// All of them.
    #[default]
    All,
    /// Those of earlier statements: an UPDATE must not meet the rows it has just written.
    BeforeStatement,
}

/// One page of a scan to come.
#[derive(Clone, Debug, Default)]
pub struct ScanRequest {
    /// First key, inclusive.
    pub start: Bytes,
    /// End, exclusive.
    pub end: Bytes,
    /// From the end to the start.
    pub reverse: bool,
    /// Rows of a page at most; 0: no limit.
    pub max_rows: u64,
    /// Bytes after which a page ends, having at least one row; 0: no limit. A page may exceed it by own buffered writes.
    pub max_bytes: u64,
    /// What to lock of each row returned.
    pub lock: LockStrength,
    /// Which own writes show.
    pub own_writes: OwnWrites,
    /// Nobody else writes there before the transaction ends, so that the span need not be refreshed when the snapshot moves.
    /// REQUIRES: what keeps the others away was read by the transaction, and is refreshed instead.
    pub guarded: bool,
}

/// A page of rows, in the direction of the scan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The rows. May be fewer than asked for, even none, although there is more to come: `resume` alone tells.
    pub rows: Vec<KeyValue>,
    /// What is left of the span; `None` when the scan is complete.
    pub resume: Option<Span>,
}

impl ScanRequest {
    /// A forward scan of `[start, end)` without limits and locks.
    pub fn over(start: Bytes, end: Bytes) -> Self {
        ScanRequest { start, end, ..ScanRequest::default() }
    }

    /// The same scan of what a page left.
    #[must_use]
    pub fn resumed(self, rest: Span) -> Self {
        ScanRequest { start: rest.start, end: rest.end, ..self }
    }
}

impl Transaction {
    /// Reads one key; one request, none when the transaction has written it.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::StatementRetry`] asks for the statement to be executed again.
    pub async fn get(&self, key: Bytes, lock: LockStrength) -> Result<Option<Bytes>, Error> {
        self.flush_bulk_before_reading(&key, None).await?;
        if let Some(own) = self.state.lock().buffer.get(&key) {
            return Ok(own);
        }
        let span = || vec![point(key.clone())];
        let build = || vec![RequestKind::Get(Get { key: key.clone(), lock: lock as i32 }).into()];
        let response = self.read(lock, span, build, |_| (), |_| [point(key.clone())]).await?;
        response.responses.into_iter().next().map_or_else(|| Err(missing()), into_value)
    }

    /// Reads keys in one batch, or in several when they hold much, in any order; the answers come in the same order.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub async fn get_many(&self, keys: Vec<Bytes>, lock: LockStrength) -> Result<Vec<Option<Bytes>>, Error> {
        self.get_within(&keys, lock, usize::MAX).await
    }

    /// Reads the first keys of a list: all of them, or as many as give so many bytes and what else comes in one message with them,
    /// at least one. The answers come in the same order.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub async fn get_within(
        &self,
        keys: &[Bytes],
        lock: LockStrength,
        max_bytes: usize,
    ) -> Result<Vec<Option<Bytes>>, Error> {
        for key in keys {
            self.flush_bulk_before_reading(key, None).await?;
        }
        let mut values: Vec<Option<Bytes>> = vec![None; keys.len()];
        let mut wanted: Vec<usize> = Vec::with_capacity(keys.len());
        {
            let state = self.state.lock();
            for (index, key) in keys.iter().enumerate() {
                match state.buffer.get(key) {
                    Some(own) => values[index] = own,
                    None => wanted.push(index),
                }
            }
        }
        if wanted.is_empty() {
            return Ok(values);
        }
        let (mut batches, mut rest): (Vec<&[usize]>, &[usize]) = (Vec::new(), &wanted);
        let (mut bytes, mut read) = (0, 0);
        while let Some(batch) = batches.pop().or_else(|| cut_batch(&mut rest, max_bytes, bytes, read)) {
            if bytes >= max_bytes {
                values.truncate(batch[0]);
                return Ok(values);
            }
            let spans = || batch.iter().map(|index| point(keys[*index].clone())).collect();
            let build = || {
                let get = |index: &usize| Get { key: keys[*index].clone(), lock: lock as i32 };
                batch.iter().map(|index| RequestKind::Get(get(index)).into()).collect()
            };
            let response = match self.read(lock, spans, build, |_| (), |_| spans()).await {
                // Their values are too much for one message.
                Err(Error::TooLarge { .. }) if batch.len() > 1 => {
                    let (first, second) = batch.split_at(batch.len() / 2);
                    batches.extend([second, first]);
                    continue;
                }
                answer => answer?,
            };
            if response.responses.len() != batch.len() {
                return Err(missing());
            }
            for (index, answer) in batch.iter().zip(response.responses) {
                values[*index] = into_value(answer)?;
                bytes += values[*index].as_ref().map_or(0, Bytes::len);
            }
            read += batch.len();
        }
        Ok(values)
    }

    /// Reads a page of a span.
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub async fn scan(&self, request: &ScanRequest) -> Result<Page, Error> {
        if request.start >= request.end {
            return Ok(Page::default());
        }
        self.flush_bulk_before_reading(&request.start, Some(&request.end)).await?;
        let before_statement = request.own_writes == OwnWrites::BeforeStatement;
        let statement_sequence = before_statement.then(|| self.state.lock().statement_sequence);
        let whole = Span { start: request.start.clone(), end: request.end.clone() };
        let build = || {
            let Span { start, end } = whole.clone();
            vec![RequestKind::Scan(Scan { start, end, reverse: request.reverse, lock: request.lock as i32 }).into()]
        };
        let limit = |header: &mut BatchHeader| {
            header.max_rows = request.max_rows;
            header.max_bytes = request.max_bytes;
            if let (Some(txn), Some(sequence)) = (&mut header.txn, statement_sequence) {
                txn.sequence = sequence;
            }
        };
        let covered = |response: &BatchResponse| match first_rows(response) {
            Some(Rows { resume: Some(rest), .. }) => without(&whole, rest, request.reverse),
            _ => whole.clone(),
        };
        let remembered = |response: &BatchResponse| (!request.guarded).then(|| covered(response));
        let response = self.read(request.lock, || vec![whole.clone()], build, limit, remembered).await?;
        let read = covered(&response);
        let Some(ResponseKind::Rows(rows)) = response.responses.into_iter().next().and_then(|answer| answer.kind)
        else {
            return Err(missing());
        };
        let state = self.state.lock();
        let own_span = (&read.start[..], &read.end[..]);
        let merged = state.buffer.overlay(rows.rows, own_span, request.reverse, before_statement);
        Ok(cut(merged, rows.resume, request))
    }

    /// Sends a read until it is answered at the snapshot that is current when the answer arrives, and remembers what it covered.
    async fn read<S: IntoIterator<Item = Span>>(
        &self,
        lock: LockStrength,
        lock_spans: impl Fn() -> Vec<Span>,
        build: impl Fn() -> Vec<Request>,
        adjust: impl Fn(&mut BatchHeader),
        covered: impl Fn(&BatchResponse) -> S,
    ) -> Result<BatchResponse, Error> {
        let mut attempts = super::refresh::Attempts::default();
        let locks = lock != LockStrength::None;
        self.state.lock().lock_requests_open += u32::from(locks);
        loop {
            let (mut header, moves) = self.open(lock, &lock_spans)?;
            adjust(&mut header);
            match self.core.send(header, build()).await {
                Ok(response) => {
                    let mut state = self.state.lock();
                    state.check_active()?;
                    state.absorb(&response);
                    if self.historical {
                        return Ok(response);
                    }
                    if locks {
                        super::merge_ranges(&mut state.lock_ranges, &response.ranges);
                    }
                    if state.moves == moves {
                        state.lock_requests_open -= u32::from(locks);
                        let cap_bytes = self.core.settings.read_span_bytes;
                        covered(&response).into_iter().for_each(|span| state.statement_reads.insert(span, cap_bytes));
                        return Ok(response);
                    }
                }
                Err(error) => Box::pin(self.recover(error, moves, &mut attempts)).await?,
            }
        }
    }
}

/// Cuts off what is to be read next of a list of keys: as many as may be expected to fill up the bytes that are wanted, by those read so
/// far. All of them when any number of bytes will do.
fn cut_batch<'a>(rest: &mut &'a [usize], max_bytes: usize, bytes: usize, read: usize) -> Option<&'a [usize]> {
    let expected = match bytes.checked_div(read) {
        _ if max_bytes == usize::MAX => rest.len(),
        None => FIRST_KEYS,
        Some(average) => max_bytes.saturating_sub(bytes) / average.max(1),
    };
    let (batch, after) = rest.split_at(expected.clamp(1, rest.len().max(1)).min(rest.len()));
    *rest = after;
    (!batch.is_empty()).then_some(batch)
}

fn missing() -> Error {
    Error::Internal("a read was answered by something else".into())
}

fn into_value(answer: Response) -> Result<Option<Bytes>, Error> {
    match answer.kind {
        Some(ResponseKind::Value(value)) => Ok(value.value),
        _ => Err(missing()),
    }
}

fn first_rows(response: &BatchResponse) -> Option<&Rows> {
    match response.responses.first()?.kind.as_ref()? {
        ResponseKind::Rows(rows) => Some(rows),
        _ => None,
    }
}

/// What a page covered: the whole span without its rest.
fn without(whole: &Span, rest: &Span, reverse: bool) -> Span {
    if reverse {
        Span { start: rest.end.clone(), end: whole.end.clone() }
    } else {
        Span { start: whole.start.clone(), end: rest.start.clone() }
    }
}

/// Cuts a page to the rows asked for: own writes may have added to it.
fn cut(mut rows: Vec<KeyValue>, resume: Option<Span>, request: &ScanRequest) -> Page {
    let limit = usize::try_from(request.max_rows).unwrap_or(usize::MAX);
    if limit == 0 || rows.len() <= limit {
        return Page { rows, resume };
    }
    rows.truncate(limit);
    let last = &rows[limit - 1].key;
    let rest = if request.reverse {
        Span { start: request.start.clone(), end: last.clone() }
    } else {
        Span { start: successor(last), end: request.end.clone() }
    };
    Page { rows, resume: Some(rest) }
}
