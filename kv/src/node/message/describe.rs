//! Messages between nodes in words, for people who read what a simulated cluster did.

use prost::Message;

use super::{NodeAnswer, NodeAnswerKind, NodeRequest, NodeRequestKind};
use crate::api::{BatchRequest, BatchResponse, RequestKind, ResponseKind, Span, TxnStatus};

/// Requests of a batch that are named.
const NAMED: usize = 4;

/// A message of the class Kv in a few words.
pub fn describe(body: &[u8], is_answer: bool) -> String {
    if !is_answer {
        return match NodeRequest::decode(body) {
            Ok(NodeRequest { kind: Some(kind) }) => request_words(&kind),
            Ok(NodeRequest { kind: None }) => "an unknown request".to_owned(),
            Err(error) => format!("an unreadable request: {error}"),
        };
    }
    match NodeAnswer::decode(body) {
        Ok(NodeAnswer { kind: Some(kind) }) => answer_words(&kind),
        Ok(NodeAnswer { kind: None }) => "refused".to_owned(),
        Err(error) => format!("an unreadable answer: {error}"),
    }
}

fn request_words(kind: &NodeRequestKind) -> String {
    match kind {
        NodeRequestKind::Batch(batch) => batch_words(batch),
        NodeRequestKind::Ping(_) => "ping".to_owned(),
        NodeRequestKind::Join(join) => format!("join, from {}", join.address),
        NodeRequestKind::Discover(_) => "who is there?".to_owned(),
        NodeRequestKind::Announce(announce) => format!("here is node {}", announce.node.node_id),
        NodeRequestKind::Removed(removed) => format!("range {} was changed", removed.descriptor.range_id),
        NodeRequestKind::Measure(measure) => format!("how large is range {}?", measure.range_id),
        NodeRequestKind::Init(_) => "found a cluster".to_owned(),
        NodeRequestKind::ReadClock(_) => "what does your clock say?".to_owned(),
        NodeRequestKind::CheckRange(check) => format!("compare the replicas of range {}", check.range_id),
        NodeRequestKind::AskCheck(ask) => {
            format!("what did range {} come to in check {:016x}?", ask.range_id, ask.check_id)
        }
        NodeRequestKind::ListNodes(_) => "which nodes are there?".to_owned(),
        NodeRequestKind::SetMembership(set) => format!("node {} is {}", set.node_id, set.membership().word()),
        NodeRequestKind::Drain(_) => "drain".to_owned(),
        NodeRequestKind::Explain(explain) => format!("why is range {} where it is?", explain.range_id),
        NodeRequestKind::ReadChecked(read) => {
            format!("what does range {} look like from {} on?", read.check.range_id, read.start.escape_ascii())
        }
    }
}

fn batch_words(batch: &BatchRequest) -> String {
    let header = &batch.header;
    let who = match &header.txn {
        Some(txn) => format!("txn {:08x} at {}", txn.id.high >> 32, txn.read_timestamp.max(txn.write_timestamp)),
        None => "no txn".to_owned(),
    };
    let kinds: Vec<String> =
        batch.requests.iter().filter_map(|request| request.kind.as_ref()).take(NAMED).map(kind_words).collect();
    let more = batch.requests.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("range {}: {who}: {}{more}", header.range_id, kinds.join(", "))
}

fn kind_words(kind: &RequestKind) -> String {
    let span = |name: &str, span: &Span| format!("{name} {}..{}", span.start.escape_ascii(), span.end.escape_ascii());
    match kind {
        RequestKind::Get(get) => format!("get {}", get.key.escape_ascii()),
        RequestKind::Scan(scan) => format!("scan {}..{}", scan.start.escape_ascii(), scan.end.escape_ascii()),
        RequestKind::Put(put) => format!("put {}", put.key.escape_ascii()),
        RequestKind::Delete(delete) => format!("delete {}", delete.key.escape_ascii()),
        RequestKind::EndTxn(end) => {
            let what = if end.commit { "commit" } else { "roll back" };
            format!("{what}{} with {} spans", if end.one_phase { " in one phase" } else { "" }, end.intents.len())
        }
        RequestKind::Refresh(refresh) => format!("{} from {}", span("refresh", &refresh.span), refresh.from),
        RequestKind::HeartbeatTxn(_) => "heartbeat".to_owned(),
        RequestKind::PushTxn(push) => {
            let what = if push.push_to.is_min() { "end".to_owned() } else { format!("above {}", push.push_to) };
            format!("push {:08x} {what}", push.pushee.id.high >> 32)
        }
        RequestKind::QueryTxn(query) => format!("query {:08x}", query.id.high >> 32),
        RequestKind::ResolveIntents(resolve) => {
            let status = TxnStatus::try_from(resolve.status).unwrap_or(TxnStatus::Pending);
            format!("{} of {:08x}: {status:?}", span("resolve", &resolve.span), resolve.txn.high >> 32)
        }
        RequestKind::QueryIntent(query) => format!("query intent {}", query.key.escape_ascii()),
        RequestKind::RecoverTxn(recover) => format!("recover {:08x}", recover.txn.id.high >> 32),
        RequestKind::ReleaseLocks(release) => span("release", &release.span),
        RequestKind::ClearSpan(clear) => span("clear", &clear.span),
        RequestKind::CollectGarbage(collect) => format!("collect garbage below {}", collect.threshold),
        RequestKind::SplitRange(split) => format!("split at {}", split.key.escape_ascii()),
        RequestKind::TransferLease(transfer) => format!("give the lease to node {}", transfer.target_node),
        RequestKind::Increment(increment) => format!("increment {}", increment.key.escape_ascii()),
        RequestKind::EnterRange(enter) => {
            format!("enter range {} of generation {}", enter.descriptor.range_id, enter.descriptor.generation)
        }
    }
}

fn answer_words(kind: &NodeAnswerKind) -> String {
    match kind {
        NodeAnswerKind::Batch(batch) => response_words(batch),
        NodeAnswerKind::Error(error) => match &error.kind {
            Some(error) => format!("no: {error}"),
            None => "no".to_owned(),
        },
        NodeAnswerKind::Joined(joined) => format!("you are node {}", joined.node_id),
        NodeAnswerKind::Known(known) => format!("{} nodes are known", known.nodes.len()),
        NodeAnswerKind::Done(_) => "done".to_owned(),
        NodeAnswerKind::Measured(measured) => format!("{} keys", measured.keys),
        NodeAnswerKind::Clock(_) => "what my clock says".to_owned(),
        NodeAnswerKind::RangeChecked(checked) => format!("{}: {}", checked.status().word(), checked.detail),
        NodeAnswerKind::Check(state) => format!("{:?}", crate::replica::CheckAnswer::from(state.clone())),
        NodeAnswerKind::Nodes(list) => format!("{} nodes", list.nodes.len()),
        NodeAnswerKind::MembershipSet(set) => format!("it has {} replicas", set.replicas),
        NodeAnswerKind::Drained(drained) => format!("{} leases are left", drained.leases),
        NodeAnswerKind::Explained(explained) => format!("{} decisions", explained.decisions.len()),
        NodeAnswerKind::Piece(piece) => format!("{} entries, {:08x}", piece.digest.entries, piece.digest.crc),
    }
}

fn response_words(batch: &BatchResponse) -> String {
    let words =
        batch.responses.iter().filter_map(|response| response.kind.as_ref()).take(NAMED).map(|kind| match kind {
            ResponseKind::Rows(rows) => format!("{} rows", rows.rows.len()),
            ResponseKind::Value(value) => if value.value.is_some() { "a value" } else { "nothing" }.to_owned(),
            ResponseKind::Ended(ended) => format!("{:?} at {}", ended.status(), ended.commit_timestamp),
            ResponseKind::Record(record) => format!("record {:?}", record.status()),
            ResponseKind::Counter(counter) => format!("{}", counter.value),
            ResponseKind::Split(split) => format!("split off range {}", split.right_range_id),
            _ => "done".to_owned(),
        });
    format!("{}; written at {}", words.collect::<Vec<_>>().join(", "), batch.write_timestamp)
}
