//! What a log should hold, as simply as it can be said.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use crate::wal::{LogEntry, Wal};
use crate::{GroupId, LogPosition};

/// A group of the model.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct ModelGroup {
    pub vote: Option<Bytes>,
    pub purged: Option<LogPosition>,
    pub committed: Option<LogPosition>,
    pub entries: Vec<LogEntry>,
}

/// All groups.
pub(super) type Model = BTreeMap<u64, ModelGroup>;

/// One thing done to a log.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Append { group: u64, entries: Vec<LogEntry> },
    Vote { group: u64, vote: Bytes },
    Committed { group: u64, position: LogPosition },
    Truncate { group: u64, after: Option<u64> },
    Purge { group: u64, upto: LogPosition },
    Destroy { group: u64 },
}

impl fmt::Debug for ModelGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vote = self.vote.as_ref().map(|vote| (vote.len(), vote.first()));
        let purged = self.purged.map_or("-".to_owned(), |purged| purged.to_string());
        write!(f, "vote {vote:?} purged {purged}")?;
        self.entries.iter().try_for_each(|entry| write!(f, " {}", entry.position))
    }
}

impl ModelGroup {
    pub(super) fn first_index(&self) -> u64 {
        self.purged.map_or(0, |purged| purged.index + 1)
    }

    pub(super) fn next_index(&self) -> u64 {
        self.first_index() + self.entries.len() as u64
    }

    pub(super) fn last(&self) -> Option<LogPosition> {
        self.entries.last().map(|entry| entry.position).or(self.purged)
    }
}

pub(super) fn apply(model: &mut Model, step: &Step) {
    match step {
        Step::Append { group, entries } => {
            if !entries.is_empty() {
                model.entry(*group).or_default().entries.extend(entries.iter().cloned());
            }
        }
        Step::Vote { group, vote } => model.entry(*group).or_default().vote = Some(vote.clone()),
        Step::Committed { group, position } => model.entry(*group).or_default().committed = Some(*position),
        Step::Truncate { group, after } => {
            let group = model.entry(*group).or_default();
            group.entries.retain(|entry| after.is_some_and(|after| entry.position.index <= after));
        }
        Step::Purge { group, upto } => {
            let group = model.entry(*group).or_default();
            if group.purged.is_none_or(|purged| purged.index < upto.index) {
                group.entries.retain(|entry| entry.position.index > upto.index);
                group.purged = Some(*upto);
            }
        }
        Step::Destroy { group } => {
            model.remove(group);
        }
    }
}

/// What the log holds, read through its interface. Commit positions are left out: they may lag.
pub(super) fn observe(wal: &Wal) -> Model {
    let observed = wal.groups().into_iter().map(|GroupId(id)| {
        let log = wal.group(GroupId(id));
        let state = log.state();
        let first = state.purged.map_or(0, |purged| purged.index + 1);
        let entries = match state.last {
            Some(last) if last.index >= first => {
                log.read(first..last.index + 1).expect("what the state shows is there")
            }
            _ => Vec::new(),
        };
        (id, ModelGroup { vote: state.vote, purged: state.purged, committed: None, entries })
    });
    comparable(&observed.collect())
}

/// The model with what may lag left out, and groups that hold nothing.
pub(super) fn comparable(model: &Model) -> Model {
    let strip = |(id, group): (&u64, &ModelGroup)| (*id, ModelGroup { committed: None, ..group.clone() });
    let holds = |(_, group): &(u64, ModelGroup)| *group != ModelGroup::default();
    model.iter().map(strip).filter(holds).collect()
}
