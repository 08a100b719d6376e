//! A batch over several ranges: cut into pieces, sent, and put together again.
//!
//! ```text
//!   without limits   every range gets its pieces as one batch, all ranges at once
//!   with limits      one piece after the other, in the order of the requests and of each scan's direction,
//!                    until the rows or bytes are used up; what is left is named in `resume`
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::trip::Trip;
use super::{Router, spans};
use crate::api::{
    BatchRequest, BatchResponse, KvError, NotBegun, Request, RequestKind, Response, ResponseKind, Rows, Scan, Span,
};
use crate::descriptor::RangeDescriptor;

/// Sends a batch whose requests lie in several ranges.
pub(super) async fn send(
    router: &Router,
    batch: &BatchRequest,
    spans: &[Span],
    trip: &Trip,
) -> Result<BatchResponse, KvError> {
    let mut batch = batch.clone();
    if batch.header.txn.is_none() && batch.header.read_timestamp.is_min() {
        batch.header.read_timestamp = router.hlc.now().map_err(|error| KvError::invalid(error.to_string()))?;
    }
    if batch.header.max_rows == 0 && batch.header.max_bytes == 0 {
        send_unlimited(router, &batch, spans, trip).await
    } else {
        send_limited(router, &batch, trip).await
    }
}

/// The pieces of one range.
struct Share {
    batch: BatchRequest,
    /// For each request of the share, which request of the whole it is part of.
    origins: Vec<usize>,
}

async fn send_unlimited(
    router: &Router,
    batch: &BatchRequest,
    spans: &[Span],
    trip: &Trip,
) -> Result<BatchResponse, KvError> {
    let mut shares: BTreeMap<bytes::Bytes, Share> = BTreeMap::new();
    let mut ranges: BTreeMap<bytes::Bytes, Arc<RangeDescriptor>> = BTreeMap::new();
    for (origin, (request, span)) in batch.requests.iter().zip(spans).enumerate() {
        let mut position = span.start.clone();
        loop {
            let descriptor = match ranges.range(..=position.clone()).next_back() {
                Some((_, known)) if known.contains(&position) => known.clone(),
                _ => router.range_of(&position, trip).await?.descriptor,
            };
            ranges.insert(descriptor.start.clone(), descriptor.clone());
            let share = shares.entry(descriptor.start.clone()).or_insert_with(|| Share {
                batch: BatchRequest { header: batch.header.clone(), requests: Vec::new() },
                origins: Vec::new(),
            });
            share.batch.requests.push(spans::within(request, &descriptor));
            share.origins.push(origin);
            let ends_here = span.end.is_empty() || descriptor.end.is_empty() || span.end <= descriptor.end;
            if ends_here {
                break;
            }
            position = descriptor.end.clone();
        }
    }
    may_be_split(batch, &shares)?;
    let calls = shares.values().map(|share| route_again(router, share.batch.clone(), trip));
    let answers = futures::future::join_all(calls).await;
    let mut whole = Merge::new(batch);
    for (share, answer) in shares.values().zip(answers) {
        whole.add(&share.origins, answer?)?;
    }
    whole.finish()
}

/// The shares are routed like any batch, since their ranges may change meanwhile.
pub(super) fn route_again<'r>(
    router: &'r Router,
    batch: BatchRequest,
    trip: &'r Trip,
) -> BoxFuture<'r, Result<BatchResponse, KvError>> {
    Box::pin(async move { router.route(&batch, trip).await })
}

/// A batch is atomic only within a range: refuses those for which that matters.
fn may_be_split(batch: &BatchRequest, shares: &BTreeMap<bytes::Bytes, Share>) -> Result<(), KvError> {
    if shares.len() < 2 {
        return Ok(());
    }
    let ends = batch.requests.iter().any(|r| matches!(r.kind, Some(RequestKind::EndTxn(_))));
    if ends {
        let writing = shares.values().filter(|share| share.batch.requests.iter().any(spans::is_write)).count();
        if writing > 1 {
            return Err(KvError::not_one_phase("the writes and the record lie in several ranges"));
        }
    }
    let alone = batch.header.txn.is_none() && batch.requests.iter().any(|r| spans::is_write(r) && spans::needs_room(r));
    if alone {
        return Err(KvError::invalid("a batch without a transaction writes to several ranges"));
    }
    Ok(())
}

/// Puts the answers of the shares together.
struct Merge<'b> {
    batch: &'b BatchRequest,
    parts: Vec<Vec<ResponseKind>>,
    whole: BatchResponse,
}

impl<'b> Merge<'b> {
    fn new(batch: &'b BatchRequest) -> Self {
        let read_timestamp = batch.header.txn.as_ref().map_or(batch.header.read_timestamp, |txn| txn.read_timestamp);
        let whole = BatchResponse { read_timestamp, ..BatchResponse::default() };
        Merge { batch, parts: vec![Vec::new(); batch.requests.len()], whole }
    }

    fn add(&mut self, origins: &[usize], answer: BatchResponse) -> Result<(), KvError> {
        if answer.responses.len() != origins.len() {
            return Err(KvError::invalid("a range answered more or fewer requests than it was asked"));
        }
        note(&mut self.whole, &answer);
        for (origin, response) in origins.iter().zip(answer.responses) {
            let Some(kind) = response.kind else { return Err(KvError::invalid("a response of an unknown kind")) };
            self.parts[*origin].push(kind);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<BatchResponse, KvError> {
        for (request, mut parts) in self.batch.requests.iter().zip(self.parts) {
            if spans::scan_of(request).is_some_and(|scan| scan.reverse) {
                parts.reverse();
            }
            self.whole.responses.push(join(parts)?.into());
        }
        Ok(self.whole)
    }
}

/// Takes over what one answer says about the batch as a whole.
fn note(whole: &mut BatchResponse, answer: &BatchResponse) {
    whole.write_timestamp = whole.write_timestamp.max(answer.write_timestamp);
    whole.observed_timestamp = whole.observed_timestamp.max(answer.observed_timestamp);
    for range in &answer.ranges {
        if !whole.ranges.contains(range) {
            whole.ranges.push(*range);
        }
    }
}

/// One request's answer from the answers of its pieces, in the request's direction.
fn join(parts: Vec<ResponseKind>) -> Result<ResponseKind, KvError> {
    let mut parts = parts.into_iter();
    let Some(mut whole) = parts.next() else { return Err(KvError::invalid("a request without an answer")) };
    for part in parts {
        match (&mut whole, part) {
            (ResponseKind::Rows(whole), ResponseKind::Rows(part)) => whole.rows.extend(part.rows),
            (ResponseKind::Done(_), ResponseKind::Done(_)) => {}
            _ => return Err(KvError::invalid("the ranges of one request gave answers of different kinds")),
        }
    }
    Ok(whole)
}

/// What rows and bytes are left of the batch's limits.
struct Budget {
    rows: Option<u64>,
    bytes: Option<u64>,
}

impl Budget {
    fn of(batch: &BatchRequest) -> Self {
        let limit = |limit: u64| (limit != 0).then_some(limit);
        Budget { rows: limit(batch.header.max_rows), bytes: limit(batch.header.max_bytes) }
    }

    fn is_used_up(&self) -> bool {
        self.rows == Some(0) || self.bytes == Some(0)
    }

    fn spend(&mut self, response: &ResponseKind) {
        let (rows, bytes) = match response {
            ResponseKind::Rows(rows) => {
                let bytes: usize = rows.rows.iter().map(|row| row.key.len() + row.value.len()).sum();
                (rows.rows.len(), bytes)
            }
            ResponseKind::Value(value) => value.value.as_ref().map_or((0, 0), |value| (1, value.len())),
            _ => (0, 0),
        };
        self.rows = self.rows.map(|left| left.saturating_sub(rows as u64));
        self.bytes = self.bytes.map(|left| left.saturating_sub(bytes as u64));
    }
}

async fn send_limited(router: &Router, batch: &BatchRequest, trip: &Trip) -> Result<BatchResponse, KvError> {
    if batch.requests.iter().any(|r| matches!(r.kind, Some(RequestKind::EndTxn(_)))) {
        return Err(KvError::not_one_phase("a batch with limits and a commit lies in several ranges"));
    }
    let mut budget = Budget::of(batch);
    let mut whole = Merge::new(batch).whole;
    for request in &batch.requests {
        let is_read = matches!(request.kind, Some(RequestKind::Get(_) | RequestKind::Scan(_)));
        let kind = if is_read && budget.is_used_up() {
            ResponseKind::NotBegun(NotBegun {})
        } else if let Some(scan) = spans::scan_of(request) {
            ResponseKind::Rows(scan_limited(router, batch, scan, &mut budget, &mut whole, trip).await?)
        } else {
            send_one(router, batch, request.clone(), &budget, &mut whole, trip).await?
        };
        if !matches!(kind, ResponseKind::Rows(_)) {
            budget.spend(&kind);
        }
        whole.responses.push(kind.into());
    }
    Ok(whole)
}

/// One scan, range by range in its direction, until it is complete or the budget is used up.
async fn scan_limited(
    router: &Router,
    batch: &BatchRequest,
    scan: &Scan,
    budget: &mut Budget,
    whole: &mut BatchResponse,
    trip: &Trip,
) -> Result<Rows, KvError> {
    let mut left = scan.clone();
    let mut rows = Vec::new();
    while left.start < left.end {
        if budget.is_used_up() {
            return Ok(Rows { rows, resume: Some(Span { start: left.start, end: left.end }) });
        }
        let range = if left.reverse {
            router.range_before(&left.end, trip).await?
        } else {
            router.range_of(&left.start, trip).await?
        };
        let piece = spans::within(&RequestKind::Scan(left.clone()).into(), &range.descriptor);
        let clipped = spans::scan_of(&piece).expect("a clipped scan is a scan").clone();
        let answer = send_one(router, batch, piece, budget, whole, trip).await?;
        budget.spend(&answer);
        let ResponseKind::Rows(page) = answer else {
            return Err(KvError::invalid("a range answered a scan with something else"));
        };
        rows.extend(page.rows);
        if let Some(resume) = page.resume {
            let rest = match left.reverse {
                true => Span { start: left.start, end: resume.end },
                false => Span { start: resume.start, end: left.end },
            };
            return Ok(Rows { rows, resume: Some(rest) });
        }
        match left.reverse {
            true => left.end = clipped.start,
            false => left.start = clipped.end,
        }
    }
    Ok(Rows { rows, resume: None })
}

/// One request by itself, within what is left of the budget.
async fn send_one(
    router: &Router,
    batch: &BatchRequest,
    request: Request,
    budget: &Budget,
    whole: &mut BatchResponse,
    trip: &Trip,
) -> Result<ResponseKind, KvError> {
    let mut header = batch.header.clone();
    header.max_rows = budget.rows.unwrap_or(0);
    header.max_bytes = budget.bytes.unwrap_or(0);
    let answer = route_again(router, BatchRequest { header, requests: vec![request] }, trip).await?;
    note(whole, &answer);
    let response: Option<Response> = answer.responses.into_iter().next();
    response.and_then(|response| response.kind).ok_or_else(|| KvError::invalid("a range gave no answer"))
}
