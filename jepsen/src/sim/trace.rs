//! What a run did, folded into one number.

use std::sync::Arc;

use parking_lot::Mutex;

/// Folds events into a hash that is the same for the same events in the same order, on every machine. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Trace(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    hash: u64,
    events: u64,
}

impl Default for State {
    fn default() -> Self {
        State { hash: 0xcbf2_9ce4_8422_2325, events: 0 }
    }
}

impl Trace {
    /// Adds an event.
    pub fn record(&self, event: &str) {
        let mut state = self.0.lock();
        state.events += 1;
        for byte in event.bytes().chain([0]) {
            state.hash = (state.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        tracing::trace!(event, "trace");
    }

    /// The hash so far.
    pub fn hash(&self) -> u64 {
        self.0.lock().hash
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.0.lock().events
    }
}
