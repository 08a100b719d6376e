//! What a run did, folded into one number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Folds events into a hash that is the same for the same events in the same order, on every machine. Clones share it.
#[derive(Clone, Debug)]
pub struct Trace(Arc<State>);

#[derive(Debug)]
struct State {
    hash: AtomicU64,
    events: AtomicU64,
}

/// FNV's basis and prime, applied to words instead of bytes.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

impl Default for Trace {
    fn default() -> Self {
        Trace(Arc::new(State { hash: AtomicU64::new(BASIS), events: AtomicU64::new(0) }))
    }
}

impl Trace {
    /// Adds an event.
    pub fn record(&self, event: &[u8]) {
        self.0.events.fetch_add(1, Ordering::Relaxed);
        let mut words = event.chunks_exact(8);
        for word in &mut words {
            self.fold(u64::from_le_bytes(word.try_into().expect("chunks of eight")));
        }
        let mut last = [0; 8];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        self.fold(u64::from_le_bytes(last));
        self.fold(event.len() as u64);
    }

    /// Adds a number to the event in hand.
    pub fn number(&self, number: u64) {
        self.fold(number);
    }

    fn fold(&self, word: u64) {
        let hash = self.0.hash.load(Ordering::Relaxed);
        let mixed = (hash ^ word).wrapping_mul(PRIME);
        // The product's upper bits know all of the word, its lower ones little: let them meet.
        self.0.hash.store(mixed ^ (mixed >> 29), Ordering::Relaxed);
    }

    /// The hash so far.
    pub fn hash(&self) -> u64 {
        self.0.hash.load(Ordering::Relaxed)
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.0.events.load(Ordering::Relaxed)
    }
}
