//! Why a group ended on this node though nobody stopped it.
//!
//! openraft ends a group's core when its log or its state machine returns an error, and says so once. What kind of error it was is
//! noted here before openraft gets it, since only the state machine knows whether it still holds what it held.

use std::any::Any;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::state_machine::StateMachineError;

/// Why a group ended on this node though nobody stopped it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupEnd {
    /// Its state machine refused something, and holds what it held: the group may be stopped, and started anew.
    Refused(String),
    /// Its log or its state machine failed, or something in it is not as it must be: nothing of it is to be relied on
    /// before the process has started again.
    Failed(String),
}

/// The first failure of a group's state machine, or else its first refusal.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndCause(Arc<Mutex<Option<GroupEnd>>>);

impl EndCause {
    /// Notes an error, and makes it one that openraft takes.
    pub fn note(&self, error: StateMachineError) -> io::Error {
        let words = with_sources(&error);
        let end = match &error {
            StateMachineError::Refused(_) => GroupEnd::Refused(words),
            StateMachineError::Failed(_) => GroupEnd::Failed(words),
        };
        self.keep(end);
        io::Error::other(error)
    }

    /// Notes a panic of the state machine.
    pub fn note_panic(&self, panic: &(dyn Any + Send)) -> io::Error {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words");
        let words = format!("the state machine panicked: {words}");
        self.keep(GroupEnd::Failed(words.clone()));
        io::Error::other(words)
    }

    fn keep(&self, end: GroupEnd) {
        let mut kept = self.0.lock();
        if !matches!(*kept, Some(GroupEnd::Failed(_))) {
            *kept = Some(end);
        }
    }

    /// What was noted, if anything was.
    pub fn noted(&self) -> Option<GroupEnd> {
        self.0.lock().clone()
    }
}

fn with_sources(error: &StateMachineError) -> String {
    let mut words = error.to_string();
    let (StateMachineError::Failed(inner) | StateMachineError::Refused(inner)) = error;
    let mut cause = inner.source();
    while let Some(next) = cause {
        words = format!("{words}: {next}");
        cause = next.source();
    }
    words
}
