//! The log against a dumb model, with crashes at every write and sync of the simulated disk, and the named
//! behaviours in `tests/scripts/wal`.

mod model;
mod properties;
mod real_disk;
mod scripts;

use std::sync::Arc;

use clock::Tasks;
use parking_lot::Mutex;

use super::{OnSynced, Wal, WalError, WalOptions};
use crate::disk::SimDir;

/// Runs a test as the simulation runs a node: on one thread.
fn simulate<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime without I/O starts").block_on(test)
}

fn tasks() -> Tasks {
    Tasks::deterministic(tokio::runtime::Handle::current())
}

fn open(dir: &SimDir, options: &WalOptions) -> Result<Wal, WalError> {
    Wal::open(Arc::new(dir.clone()), options.clone(), tasks())
}

/// An answer that is yet to come, and its other end.
fn answer() -> (OnSynced, Arc<Mutex<Option<Result<(), WalError>>>>) {
    let place = Arc::new(Mutex::new(None));
    let told = place.clone();
    (Box::new(move |outcome| *told.lock() = Some(outcome)), place)
}
