//! Which keys a request is about, and what is left of it within a range.

use bytes::Bytes;

use crate::api::{BatchHeader, KvError, Request, RequestKind, Scan, Span};
use crate::descriptor::RangeDescriptor;

/// The keys a request goes to: a span, or one key (with an empty end).
///
/// # Errors
/// `Invalid` for a request of an unknown kind, or one without the anchor it needs.
pub(super) fn span_of(header: &BatchHeader, request: &Request) -> Result<Span, KvError> {
    let point = |key: &Bytes| Ok(Span { start: key.clone(), end: Bytes::new() });
    let anchor = |txn: Option<&crate::api::TxnMeta>| match txn {
        Some(txn) if !txn.anchor.is_empty() => Ok(Span { start: txn.anchor.clone(), end: Bytes::new() }),
        _ => Err(KvError::invalid("a request to a transaction's record names no anchor")),
    };
    match request.kind.as_ref() {
        None => Err(KvError::invalid("a request of an unknown kind; is a node of a newer version about?")),
        Some(RequestKind::Get(get)) => point(&get.key),
        Some(RequestKind::Scan(scan)) => Ok(Span { start: scan.start.clone(), end: scan.end.clone() }),
        Some(RequestKind::Put(put)) => point(&put.key),
        Some(RequestKind::Delete(delete)) => point(&delete.key),
        Some(RequestKind::EndTxn(_) | RequestKind::HeartbeatTxn(_)) => anchor(header.txn.as_ref()),
        Some(RequestKind::Refresh(refresh)) => Ok(refresh.span.clone()),
        Some(RequestKind::PushTxn(push)) => anchor(Some(&push.pushee)),
        Some(RequestKind::QueryTxn(query)) => point(&query.anchor),
        Some(RequestKind::ResolveIntents(resolve)) => Ok(resolve.span.clone()),
        Some(RequestKind::QueryIntent(query)) => point(&query.key),
        Some(RequestKind::RecoverTxn(recover)) => anchor(Some(&recover.txn)),
        Some(RequestKind::ReleaseLocks(release)) => Ok(release.span.clone()),
        Some(RequestKind::ClearSpan(clear)) => Ok(clear.span.clone()),
        Some(RequestKind::CollectGarbage(collect)) => point(&collect.key),
        Some(RequestKind::SplitRange(split)) => point(&split.key),
        Some(RequestKind::TransferLease(transfer)) => point(&transfer.key),
        Some(RequestKind::Increment(increment)) => point(&increment.key),
        Some(RequestKind::EnterRange(enter)) => point(&enter.key),
    }
}

/// Whether the range holds all of the span.
pub(super) fn covers(descriptor: &RangeDescriptor, span: &Span) -> bool {
    descriptor.contains(&span.start)
        && (descriptor.end.is_empty() || span.end.is_empty() || span.end[..] <= descriptor.end[..])
}

/// The same request, limited to what the range holds of it. Point requests stay as they are.
pub(super) fn within(request: &Request, descriptor: &RangeDescriptor) -> Request {
    let mut request = request.clone();
    match request.kind.as_mut() {
        Some(RequestKind::Scan(scan)) => clip(&mut scan.start, &mut scan.end, descriptor),
        Some(RequestKind::Refresh(refresh)) => clip_span(&mut refresh.span, descriptor),
        Some(RequestKind::ResolveIntents(resolve)) => clip_span(&mut resolve.span, descriptor),
        Some(RequestKind::ReleaseLocks(release)) => clip_span(&mut release.span, descriptor),
        Some(RequestKind::ClearSpan(clear)) => clip_span(&mut clear.span, descriptor),
        _ => {}
    }
    request
}

fn clip_span(span: &mut Span, descriptor: &RangeDescriptor) {
    clip(&mut span.start, &mut span.end, descriptor);
}

/// REQUIRES: an empty `end` is a single key. After clipping to its own key's range such a span stays as it is.
fn clip(start: &mut Bytes, end: &mut Bytes, descriptor: &RangeDescriptor) {
    if end.is_empty() {
        return;
    }
    if start[..] < descriptor.start[..] {
        *start = descriptor.start.clone();
    }
    if !descriptor.end.is_empty() && end[..] > descriptor.end[..] {
        *end = descriptor.end.clone();
    }
}

/// Whether the request changes replicated state.
pub(super) fn is_write(request: &Request) -> bool {
    match request.kind.as_ref() {
        Some(
            RequestKind::Get(_)
            | RequestKind::Scan(_)
            | RequestKind::Refresh(_)
            | RequestKind::QueryTxn(_)
            | RequestKind::QueryIntent(_)
            | RequestKind::ReleaseLocks(_),
        )
        | None => false,
        Some(_) => true,
    }
}

/// Whether the request may be sent again when it may have taken effect. Writes of a transaction carry its
/// sequence numbers, and its end leaves an outcome record; the rest say what should be, not what should change.
pub(super) fn may_repeat(header: &BatchHeader, request: &Request) -> bool {
    match request.kind.as_ref() {
        Some(RequestKind::Increment(_)) => false,
        Some(RequestKind::Put(_) | RequestKind::Delete(_)) => header.txn.is_some(),
        _ => true,
    }
}

/// Whether the request takes room on disk that a full one cannot give. What frees room, or ends what others wait
/// for, is let through.
pub(crate) fn needs_room(request: &Request) -> bool {
    matches!(request.kind.as_ref(), Some(RequestKind::Put(_) | RequestKind::Delete(_) | RequestKind::Increment(_)))
}

/// The reverse or forward scan in a request, if it is one.
pub(super) fn scan_of(request: &Request) -> Option<&Scan> {
    match request.kind.as_ref() {
        Some(RequestKind::Scan(scan)) => Some(scan),
        _ => None,
    }
}
