//! Messages between replicas in words, for people who read what a simulated cluster did.

use prost::Message;

use super::wire::{RaftAnswer, RaftCall, RaftOutcome, RaftRequest, SnapshotRequest, SnapshotStep};

/// A message of the classes Raft and Bulk in a few words.
pub fn describe_message(body: &[u8], is_answer: bool, is_bulk: bool) -> String {
    if is_answer {
        return match RaftAnswer::decode(body).ok().and_then(|answer| answer.outcome) {
            _ if is_bulk => "snapshot step taken".to_owned(),
            Some(outcome) => outcome_words(&outcome),
            None => "refused".to_owned(),
        };
    }
    if is_bulk {
        return match SnapshotRequest::decode(body) {
            Ok(request) => format!("group {} {}", request.group, step_words(request.step.as_ref())),
            Err(error) => format!("an unreadable snapshot step: {error}"),
        };
    }
    match RaftRequest::decode(body) {
        Ok(request) => format!("group {} {}", request.group, call_words(request.call.as_ref())),
        Err(error) => format!("an unreadable request: {error}"),
    }
}

fn call_words(call: Option<&RaftCall>) -> String {
    match call {
        Some(RaftCall::Append(append)) if append.entries.is_empty() => {
            format!(
                "heartbeat, term {}, committed {}",
                append.vote.term,
                index(append.leader_commit.map(|at| at.index))
            )
        }
        Some(RaftCall::Append(append)) => format!(
            "append {} entries after {}, term {}, committed {}",
            append.entries.len(),
            index(append.previous.map(|at| at.index)),
            append.vote.term,
            index(append.leader_commit.map(|at| at.index))
        ),
        Some(RaftCall::Vote(ask)) => format!("vote for {} in term {}?", ask.vote.voted_for, ask.vote.term),
        Some(RaftCall::PreVote(ask)) => format!("would you vote for {} in term {}?", ask.vote.voted_for, ask.vote.term),
        Some(RaftCall::Transfer(transfer)) => format!("lead, replica {}", transfer.to_replica),
        None => "an unknown request".to_owned(),
    }
}

fn outcome_words(outcome: &RaftOutcome) -> String {
    match outcome {
        RaftOutcome::Appended(_) => "appended".to_owned(),
        RaftOutcome::AppendedUpTo(up_to) => format!("appended up to {}", index(up_to.position.map(|at| at.index))),
        RaftOutcome::Conflict(_) => "my log differs".to_owned(),
        RaftOutcome::HigherVote(vote) => format!("I am in term {}", vote.term),
        RaftOutcome::Vote(answer) if answer.is_granted => format!("yes, term {}", answer.vote.term),
        RaftOutcome::Vote(answer) => format!("no, term {}", answer.vote.term),
        RaftOutcome::TransferAccepted(_) => "I shall lead".to_owned(),
        RaftOutcome::TransferRejected(_) => "I shall not lead".to_owned(),
    }
}

fn step_words(step: Option<&SnapshotStep>) -> String {
    match step {
        Some(SnapshotStep::Begin(head)) => format!("snapshot begins, up to {}", index(head.last.map(|at| at.index))),
        Some(SnapshotStep::Chunk(chunk)) => format!("snapshot chunk {}, {} bytes", chunk.sequence, chunk.data.len()),
        Some(SnapshotStep::Finish(tail)) => format!("snapshot ends after {} chunks", tail.chunks),
        None => "an unknown snapshot step".to_owned(),
    }
}

fn index(index: Option<u64>) -> String {
    index.map_or("nothing".to_owned(), |index| index.to_string())
}
