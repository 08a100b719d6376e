//! Which running statement a request for cancellation means.
//!
//! Every connection gets a process ID and a secret at its start. A second connection that shows both
//! sets the token of whatever statement the first one runs at that moment; between statements it does nothing.
//! The process ID starts with the node's ID, so that a client's request for another node's connection is not
//! mistaken for one of ours.

use std::collections::HashMap;

use clock::Random;
use parking_lot::Mutex;
use sql::CancelToken;

/// What a client must show to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CancelKey {
    /// The connection.
    pub process_id: i32,
    /// Its secret.
    pub secret: i32,
}

/// The connections of a node, and what they run.
pub struct CancelRegistry {
    node_id: u64,
    random: Random,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: u32,
    running: HashMap<CancelKey, Option<CancelToken>>,
}

impl CancelRegistry {
    /// A registry whose secrets come from `random`.
    pub fn new(node_id: u64, random: Random) -> Self {
        CancelRegistry { node_id, random, state: Mutex::default() }
    }

    /// A key for a new connection.
    pub fn register(&self) -> CancelKey {
        let mut state = self.state.lock();
        state.last = (state.last + 1) & 0xf_ffff;
        let process_id = ((self.node_id as u32 & 0x7ff) << 20 | state.last) as i32;
        let key = CancelKey { process_id, secret: self.random.next_u64() as i32 };
        state.running.insert(key, None);
        key
    }

    /// Says what the connection runs now; `None` for nothing.
    pub fn set(&self, key: CancelKey, token: Option<CancelToken>) {
        if let Some(slot) = self.state.lock().running.get_mut(&key) {
            *slot = token;
        }
    }

    /// Forgets a connection.
    pub fn remove(&self, key: CancelKey) {
        self.state.lock().running.remove(&key);
    }

    /// Cancels what the connection runs, if the key is right.
    pub fn cancel(&self, key: CancelKey) {
        if let Some(Some(token)) = self.state.lock().running.get(&key) {
            token.cancel();
        }
    }

    /// Cancels whatever runs.
    pub fn cancel_all(&self) {
        self.state.lock().running.values().flatten().for_each(CancelToken::cancel);
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.state.lock().running.len()
    }
}
