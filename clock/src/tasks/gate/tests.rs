use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Gate;
use crate::Tasks;

/// A task that counts virtual seconds.
fn count(tasks: &Tasks) -> Arc<AtomicU64> {
    let counted = Arc::new(AtomicU64::new(0));
    let counter = counted.clone();
    tasks.spawn("count", async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    counted
}

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_millis(1_000 * count + 500)).await;
}

#[tokio::test(start_paused = true)]
async fn a_closed_gate_holds_tasks_until_it_opens() {
    let gate = Gate::default();
    let counted = count(&Tasks::deterministic(tokio::runtime::Handle::current()).behind(gate.clone()));
    seconds(2).await;
    assert_eq!(counted.load(Ordering::Relaxed), 2);
    gate.close();
    seconds(10).await;
    assert_eq!(counted.load(Ordering::Relaxed), 2);
    gate.open();
    seconds(0).await;
    assert_eq!(counted.load(Ordering::Relaxed), 3, "the timer that rang meanwhile is heard at once");
}

#[tokio::test(start_paused = true)]
async fn an_ended_gate_drops_its_tasks() {
    let gate = Gate::default();
    let tasks = Tasks::deterministic(tokio::runtime::Handle::current()).behind(gate.clone());
    let counted = count(&tasks);
    seconds(2).await;
    gate.end();
    let late = count(&tasks);
    seconds(10).await;
    assert_eq!((counted.load(Ordering::Relaxed), late.load(Ordering::Relaxed)), (2, 0));
    assert_eq!(Arc::strong_count(&counted), 1, "the task is gone with what it held");
}

#[tokio::test(start_paused = true)]
async fn a_gate_may_end_between_two_pieces_of_a_step_that_only_yields() {
    let gate = Gate::default();
    let tasks = Tasks::deterministic(tokio::runtime::Handle::current()).behind(gate.clone());
    let pieces = Arc::new(AtomicU64::new(0));
    let done = pieces.clone();
    gate.end_after(Some(3));
    tasks.spawn("step", async move {
        for _ in 0..10 {
            done.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    gate.ended().await;
    seconds(1).await;
    assert_eq!(pieces.load(Ordering::Relaxed), 3);
    assert_eq!(Arc::strong_count(&pieces), 1, "the task is gone with what it held");
}
