//! The seam of randomness: one seeded generator, handed down from the start of the process.

use std::hash::Hasher;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

/// A source of random numbers that replays from its seed.
///
/// Clones share one stream; [`Random::fork`] starts an independent one, so that what one
/// component draws does not depend on how often another one drew.
#[derive(Clone, Debug)]
pub struct Random {
    seed: u64,
    stream: Arc<Mutex<SmallRng>>,
}

impl Random {
    /// A generator that always yields the same stream for the same seed.
    pub fn from_seed(seed: u64) -> Self {
        Random { seed, stream: Arc::new(Mutex::new(SmallRng::seed_from_u64(seed))) }
    }

    /// A generator seeded by the operating system, for production.
    pub fn from_entropy() -> Self {
        let seed = SmallRng::from_os_rng().next_u64();
        Random::from_seed(seed)
    }

    /// The seed this generator was started from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// An independent generator, determined by this one's seed and the label alone.
    pub fn fork(&self, label: &str) -> Random {
        let mut hasher = Fnv(0xcbf2_9ce4_8422_2325 ^ self.seed);
        hasher.write(label.as_bytes());
        Random::from_seed(hasher.finish())
    }

    /// The next 64 random bits.
    pub fn next_u64(&self) -> u64 {
        self.stream.lock().next_u64()
    }

    /// The next 128 random bits.
    pub fn next_u128(&self) -> u128 {
        let mut stream = self.stream.lock();
        (u128::from(stream.next_u64()) << 64) | u128::from(stream.next_u64())
    }

    /// A number in `[low, high)`; `low` when the interval is empty.
    pub fn range(&self, low: u64, high: u64) -> u64 {
        if high <= low { low } else { low + self.next_u64() % (high - low) }
    }

    /// Whether an event of the given probability in `[0, 1]` happens.
    pub fn chance(&self, probability: f64) -> bool {
        ((self.next_u64() >> 11) as f64) / ((1u64 << 53) as f64) < probability
    }
}

/// FNV-1a: the standard hashers may change between releases of Rust, and a seed must not.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
