//! Batches and answers in words.

use bytes::Bytes;
use clock::Timestamp;
use kv::api::{
    BatchRequest, BatchResponse, KvError, LockStrength, Request, RequestKind, ResponseKind, Span, TxnStatus,
};

use super::Ranges;

pub fn kind_of(request: &Request) -> &'static str {
    match request.kind.as_ref().expect("tests send what they know") {
        RequestKind::Get(_) => "get",
        RequestKind::Scan(_) => "scan",
        RequestKind::Put(_) => "put",
        RequestKind::Delete(_) => "delete",
        RequestKind::EndTxn(_) => "end",
        RequestKind::Refresh(_) => "refresh",
        RequestKind::HeartbeatTxn(_) => "heartbeat",
        RequestKind::ResolveIntents(_) => "resolve",
        RequestKind::ReleaseLocks(_) => "release",
        RequestKind::ClearSpan(_) => "clear",
        RequestKind::Increment(_) => "increment",
        _ => "other",
    }
}

pub fn time(timestamp: Timestamp) -> String {
    match timestamp.logical {
        0 => format!("{}", timestamp.wall_ns / 1_000_000),
        logical => format!("{}.{logical}", timestamp.wall_ns / 1_000_000),
    }
}

fn key(key: &Bytes) -> String {
    key.escape_ascii().to_string()
}

/// Long values by their length.
pub fn value(value: &Bytes) -> String {
    if value.len() > 20 { format!("({} bytes)", value.len()) } else { key(value) }
}

fn span(span: &Span) -> String {
    if span.end.is_empty() { key(&span.start) } else { format!("{}..{}", key(&span.start), key(&span.end)) }
}

fn spans(list: &[Span]) -> String {
    list.iter().map(span).collect::<Vec<_>>().join(",")
}

fn lock(lock: LockStrength) -> &'static str {
    if lock == LockStrength::Exclusive { " lock" } else { "" }
}

fn request(request: &Request) -> String {
    match request.kind.as_ref().expect("tests send what they know") {
        RequestKind::Get(get) => format!("get {}{}", key(&get.key), lock(get.lock())),
        RequestKind::Scan(scan) => {
            let direction = if scan.reverse { " reverse" } else { "" };
            format!("scan {}..{}{direction}{}", key(&scan.start), key(&scan.end), lock(scan.lock()))
        }
        RequestKind::Put(put) => {
            let invisible = if put.invisible { " invisible" } else { "" };
            format!("put {}={}{invisible}", key(&put.key), value(&put.value))
        }
        RequestKind::Delete(delete) => format!("delete {}", key(&delete.key)),
        RequestKind::EndTxn(end) => {
            let what = if end.commit { "commit" } else { "rollback" };
            let phase = if end.one_phase { " one-phase" } else { "" };
            let forward = if end.can_forward_timestamp { " forward" } else { "" };
            let intents = if end.intents.is_empty() { String::new() } else { format!(" of {}", spans(&end.intents)) };
            format!("{what}{phase}{forward}{intents}")
        }
        RequestKind::Refresh(refresh) => format!("refresh {} from {}", span(&refresh.span), time(refresh.from)),
        RequestKind::ResolveIntents(resolve) => format!("resolve {} {:?}", span(&resolve.span), resolve.status()),
        RequestKind::ReleaseLocks(release) => format!("release {}", span(&release.span)),
        RequestKind::ClearSpan(clear) => format!("clear {}", span(&clear.span)),
        RequestKind::Increment(increment) => format!("increment {} by {}", key(&increment.key), increment.by),
        _ => kind_of(request).into(),
    }
}

pub fn describe(batch: &BatchRequest) -> String {
    let mut requests: Vec<String> = batch.requests.iter().map(request).collect();
    if requests.len() > 8 {
        let rest = requests.len() - 4;
        requests.truncate(3);
        let last = batch.requests.last().map(request).unwrap_or_default();
        requests.push(format!("({rest} more)"));
        requests.push(last);
    }
    let stand = match &batch.header.txn {
        Some(txn) if txn.write_timestamp > txn.read_timestamp => {
            format!("@{} writing @{}", time(txn.read_timestamp), time(txn.write_timestamp))
        }
        Some(txn) => format!("@{}", time(txn.read_timestamp)),
        None if batch.header.historical => format!("as of {}", time(batch.header.read_timestamp)),
        None => "alone".into(),
    };
    let anchor = match &batch.header.txn {
        Some(txn) if !txn.anchor.is_empty() => format!(" anchor {}", key(&txn.anchor)),
        _ => String::new(),
    };
    format!("[{}] {stand}{anchor}", requests.join(", "))
}

pub fn describe_answer(answer: &Result<BatchResponse, KvError>) -> String {
    let response = match answer {
        Ok(response) => response,
        Err(KvError::WriteTooOld(detail)) => {
            return format!("write too old: {} at {}", key(&detail.key), time(detail.actual));
        }
        Err(KvError::Uncertain(detail)) => {
            return format!("uncertain: {} at {}", key(&detail.key), time(detail.actual));
        }
        Err(KvError::RefreshFailed(detail)) => {
            return format!("refresh failed: {} at {}", key(&detail.key), time(detail.actual));
        }
        Err(KvError::CommitPushed(detail)) => return format!("commit pushed to {}", time(detail.actual)),
        Err(KvError::AlreadyCommitted(detail)) => return format!("already committed at {}", time(detail.actual)),
        Err(other) => return other.to_string(),
    };
    let told: Vec<String> = response.responses.iter().filter_map(|r| r.kind.as_ref()).filter_map(told).collect();
    if told.is_empty() { "done".into() } else { told.join(", ") }
}

fn told(kind: &ResponseKind) -> Option<String> {
    match kind {
        ResponseKind::Value(found) => Some(found.value.as_ref().map_or("none".into(), value)),
        ResponseKind::Rows(rows) => Some(format!("{} rows", rows.rows.len())),
        ResponseKind::Ended(ended) if ended.status() == TxnStatus::Committed => {
            Some(format!("committed at {}", time(ended.commit_timestamp)))
        }
        ResponseKind::Ended(_) => Some("rolled back".into()),
        ResponseKind::Record(record) => Some(format!("record {:?}", record.status())),
        ResponseKind::Counter(counter) => Some(counter.value.to_string()),
        _ => None,
    }
}

pub fn dump(state: &Ranges) -> String {
    let mut out = String::new();
    for (name, versions) in &state.versions {
        let versions: Vec<String> = versions
            .iter()
            .rev()
            .map(|(at, found)| format!("{}@{}", found.as_ref().map_or("none".into(), value), time(*at)))
            .collect();
        out += &format!("{}: {}\n", key(name), versions.join(" "));
    }
    for (name, intent) in &state.intents {
        let show = |found: &Option<Bytes>| found.as_ref().map_or("none".into(), value);
        let writes: Vec<String> = match intent.writes.len() {
            1 => intent.writes.values().map(show).collect(),
            _ => intent.writes.iter().map(|(sequence, found)| format!("{sequence}:{}", show(found))).collect(),
        };
        out += &format!("intent {}: {}@{}\n", key(name), writes.join(" "), time(intent.txn.write_timestamp));
    }
    for name in state.locks.keys() {
        out += &format!("lock {}\n", key(name));
    }
    out
}
