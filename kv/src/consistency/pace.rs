//! How much of a node checks may take.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::settings::{ClusterSettings, Settings};

/// How many snapshots a node keeps for checks at a time.
const VIEWS_MAX: usize = 8;

/// Bounds of what is read at a time, in bytes.
const STEP_BYTES: (u64, u64) = (1 << 10, 256 << 10);

/// What a node's checks share: a bound on the snapshots they keep, and on the bytes they read a second.
#[derive(Debug)]
pub struct CheckLimits {
    cluster: Arc<ClusterSettings>,
    views: Arc<Semaphore>,
    /// From when on more may be read.
    free_at: Mutex<Option<Instant>>,
}

impl CheckLimits {
    /// As the cluster's settings say.
    pub fn new(cluster: Arc<ClusterSettings>) -> Self {
        CheckLimits { cluster, views: Arc::new(Semaphore::new(VIEWS_MAX)), free_at: Mutex::default() }
    }

    /// As a node's own settings say.
    pub fn of(settings: &Settings) -> Self {
        CheckLimits::new(Arc::new(ClusterSettings::new(settings)))
    }

    /// Leave to keep one more snapshot; `None` when there are too many.
    pub fn take_view(&self) -> Option<OwnedSemaphorePermit> {
        self.views.clone().try_acquire_owned().ok()
    }

    /// How many bytes to read at a time: so few that the next pause is short, and that a changed bound counts soon.
    pub fn step_bytes(&self) -> u64 {
        (self.cluster.get().check_bytes_a_second / 4).clamp(STEP_BYTES.0, STEP_BYTES.1)
    }

    /// Waits for as long as these bytes, just read, take at the bound.
    pub async fn read(&self, bytes: u64) {
        let rate = self.cluster.get().check_bytes_a_second.max(1);
        let takes = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let until = {
            let now = now();
            let mut free_at = self.free_at.lock();
            let until = free_at.map_or(now, |at| at.max(now)) + takes;
            *free_at = Some(until);
            until
        };
        tokio::time::sleep_until(until).await;
    }
}

/// The time by which checks are paced and given up.
#[allow(clippy::disallowed_methods, reason = "measures how long a check takes; virtual under simulation")]
pub fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_checks_of_a_node_together_keep_to_the_bound() {
        let settings = Settings { check_bytes_a_second: 1_000, ..Settings::default() };
        let limits = CheckLimits::of(&settings);
        let begun = now();
        futures::future::join_all((0..4).map(|_| async {
            for _ in 0..5 {
                limits.read(100).await;
            }
        }))
        .await;
        assert_eq!(begun.elapsed().as_secs(), 2, "2,000 bytes at 1,000 a second");
    }

    #[test]
    fn snapshots_are_given_back() {
        let limits = CheckLimits::of(&Settings::default());
        let taken: Vec<_> = (0..VIEWS_MAX).map(|_| limits.take_view().expect("there is room")).collect();
        assert!(limits.take_view().is_none());
        drop(taken);
        assert!(limits.take_view().is_some());
    }
}
