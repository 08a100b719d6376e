use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("threads start")
}

#[test]
fn scope_ends_whole() {
    let runtime = runtime();
    runtime.block_on(async {
        let outside = Tasks::on(Handle::current());
        let scope = outside.scope();
        let held = Arc::new(());
        for _ in 0..100 {
            let (mine, inner) = (held.clone(), scope.clone());
            drop(scope.spawn("waits for ever", async move {
                // What a task starts ends with the scope too.
                let nested = mine.clone();
                drop(inner.spawn("nested", async move {
                    std::future::pending::<()>().await;
                    drop(nested);
                }));
                std::future::pending::<()>().await;
                drop(mine);
            }));
        }
        let (mine, is_done) = (held.clone(), Arc::new(AtomicBool::new(false)));
        let (done, blocking) = (is_done.clone(), scope.clone());
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        drop(scope.spawn("blocks", async move {
            blocking
                .blocking(move || {
                    begun.send(()).expect("the test waits");
                    std::thread::yield_now();
                    done.store(true, Ordering::SeqCst);
                    drop(mine);
                })
                .await;
        }));
        has_begun.await.expect("the work begins");
        let other = outside.spawn("outside", async { tokio::time::sleep(Duration::from_millis(5)).await });
        scope.stop().await;
        assert!(is_done.load(Ordering::SeqCst), "blocking work cannot be cut short: it is waited for");
        assert_eq!(Arc::strong_count(&held), 1, "scope_ends_whole: a task has not let go of what it held");
        assert!(other.await.is_ok(), "what is outside goes on");
        let late = scope.spawn("late", std::future::pending::<()>());
        assert!(late.await.is_err_and(|error| error.is_cancelled()), "a stopped scope starts nothing");
        scope.stop().await;
    });
}

#[test]
fn what_is_started_while_the_runtime_ends_is_dropped_and_leaves() {
    struct StartsAnother(Tasks);
    impl Drop for StartsAnother {
        fn drop(&mut self) {
            drop(self.0.spawn("last words", std::future::pending::<()>()));
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without I/O starts");
    let scope = runtime.block_on(async { Tasks::deterministic(Handle::current()).scope() });
    let held = StartsAnother(scope.clone());
    drop(scope.spawn("holds", async move {
        let _held = held;
        std::future::pending::<()>().await;
    }));
    runtime.block_on(tokio::task::yield_now());
    drop(runtime);
    let waiting = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without I/O starts");
    waiting.block_on(scope.stop());
}

#[test]
fn what_has_ended_by_itself_is_not_waited_for() {
    runtime().block_on(async {
        let scope = Tasks::on(Handle::current()).scope();
        for index in 0..100_u64 {
            assert_eq!(scope.spawn("ends", async move { index }).await.expect("it runs"), index);
        }
        let panics = scope.spawn("panics", async { panic!("as it should") });
        assert!(panics.await.is_err_and(|error| error.is_panic()));
        scope.stop().await;
    });
}

#[test]
fn what_computes_keeps_no_task_from_running_and_is_waited_for() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("threads start");
    runtime.block_on(async {
        let scope = Tasks::on(Handle::current()).scope();
        let (enough, held) = (Arc::new(AtomicBool::new(false)), Arc::new(()));
        for _ in 0..4 {
            let (enough, mine) = (enough.clone(), held.clone());
            drop(scope.compute("never pauses", async move {
                while !enough.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
                drop(mine);
            }));
        }
        // With four threads busy and one worker, a task runs all the same.
        let told = enough.clone();
        scope.spawn("ends it", async move { told.store(true, Ordering::SeqCst) }).await.expect("it runs");
        scope.stop().await;
        assert_eq!(Arc::strong_count(&held), 1, "scope_ends_whole: what computes has not let go of what it held");
        let late = scope.compute("late", std::future::pending::<()>());
        assert!(late.await.is_err_and(|error| error.is_cancelled()), "a stopped scope starts nothing");
    });
}

#[test]
fn a_task_holds_its_future_once() {
    let runtime = runtime();
    let scope = Tasks::on(runtime.handle().clone()).scope();
    let member = |scope: &Tasks| {
        let scope = scope.scope.as_ref().expect("it is a scope");
        scope.enter(&mut scope.running.lock())
    };
    let large = |bytes: [u8; 4096]| async move {
        tokio::task::yield_now().await;
        bytes.len()
    };
    let task = InScope { future: Box::pin(large([0; 4096])), _member: member(&scope) };
    assert!(size_of_val(&task) <= 64, "what is moved about is small: {}", size_of_val(&task));
    assert!(size_of_val(&*task.future) < 2 * 4096 + 64, "the box holds what the future itself is");
    let done = scope.spawn("large", large([0; 4096]));
    assert_eq!(runtime.block_on(done).expect("it ends"), 4096);
}
