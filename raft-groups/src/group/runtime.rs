//! openraft's runtime: tokio, with elections timed from a seed instead of from the thread's own generator, and patient.
//!
//! openraft gives each exchange between replicas as long as heartbeats are apart, and a leader whose heartbeats are answered later than
//! that holds no quorum in its eyes: it takes nothing, and nobody replaces it, since it is heard. Replicas a continent apart answer
//! later. Hence every exchange has at least [`EXCHANGE_TIMEOUT_MIN`]; heartbeats to one peer follow each other, so that they
//! are then as far apart as a round trip takes.

use std::future::Future;
use std::time::Duration;

use openraft::rt::deterministic_rng::DeterministicRng;
use openraft::{AsyncRuntime, OptionalSend};

/// How long an exchange with another replica may take, at least: no longer than followers wait before they stand for election.
pub(super) const EXCHANGE_TIMEOUT_MIN: Duration = Duration::from_millis(600);

#[allow(deprecated, reason = "openraft's re-export spares a direct dependency on its runtime crate")]
type Seeded = DeterministicRng<openraft::impls::TokioRuntime>;

/// See the module.
#[derive(Debug)]
pub(crate) struct GroupRuntime(Seeded);

impl GroupRuntime {
    /// Runs something whose elections are timed from a seed.
    pub fn scope<F: Future>(seed: u64, future: F) -> impl Future<Output = F::Output> {
        Seeded::scope(seed, future)
    }
}

impl AsyncRuntime for GroupRuntime {
    type JoinError = <Seeded as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <Seeded as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <Seeded as AsyncRuntime>::Sleep;
    type Instant = <Seeded as AsyncRuntime>::Instant;
    type TimeoutError = <Seeded as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <Seeded as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <Seeded as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <Seeded as AsyncRuntime>::Mpsc;
    type Watch = <Seeded as AsyncRuntime>::Watch;
    type Oneshot = <Seeded as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <Seeded as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        Seeded::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        Seeded::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        Seeded::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        Seeded::timeout(duration.max(EXCHANGE_TIMEOUT_MIN), future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F> {
        Seeded::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        Seeded::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        Seeded::thread_rng()
    }

    fn new(threads: usize) -> Self {
        GroupRuntime(Seeded::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }

    fn spawn_blocking<F, T>(work: F) -> impl Future<Output = Result<T, std::io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Seeded::spawn_blocking(work)
    }
}
