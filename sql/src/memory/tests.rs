use std::cell::Cell;

use datafusion::execution::memory_pool::GreedyMemoryPool;

use super::*;

thread_local! {
    static HELD: Cell<i64> = const { Cell::new(0) };
}

const MIB: i64 = 1 << 20;

/// An account in a pool of 200 MiB, on a thread that holds what the test says.
fn account() -> (Arc<dyn MemoryPool>, Arc<Account>) {
    install_meter(|| HELD.get());
    let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(200 << 20));
    let account = Account::open(&pool);
    (pool, account)
}

fn hold(mib: i64) {
    HELD.set(HELD.get() + mib * MIB);
}

#[test]
fn what_nobody_has_reserved_is_reserved_and_given_back() {
    hold(1_000);
    let (pool, account) = account();
    hold(50);
    account.settle().unwrap();
    assert_eq!(pool.reserved(), 46 << 20, "all but the slack; what the thread held before is not the query's");
    let operator = MemoryConsumer::new("sort").register(&(account.clone() as Arc<dyn MemoryPool>));
    operator.try_grow(40 << 20).unwrap();
    hold(2);
    account.settle().unwrap();
    assert_eq!(pool.reserved(), 48 << 20, "what an operator has reserved is not reserved twice");
    hold(-30);
    account.settle().unwrap();
    assert_eq!(pool.reserved(), 40 << 20, "what an operator has reserved stays");
    drop((operator, account));
    assert_eq!(pool.reserved(), 0);
}

#[test]
fn a_query_that_holds_too_much_is_refused() {
    let (pool, account) = account();
    hold(90);
    account.settle().unwrap();
    hold(90);
    assert!(account.settle().is_err());
    drop(account);
    assert_eq!(pool.reserved(), 0);
}

#[test]
fn what_is_freed_for_others_does_not_make_room() {
    let (_, account) = account();
    hold(-500);
    account.settle().unwrap();
    hold(220);
    assert!(account.settle().is_err(), "freeing pages that another thread has allocated is no credit");
}

#[test]
fn what_the_engine_allocates_is_not_the_querys() {
    let (pool, account) = account();
    account.aside(|| hold(150), |()| 0);
    account.settle().unwrap();
    assert_eq!(pool.reserved(), 0);
}

#[test]
fn what_a_scan_gives_is_the_querys() {
    let (pool, account) = account();
    // A page was read, which leaves 10 MiB in a cache, and a batch of 60 MiB was made of it.
    account.aside(|| hold(70), |()| 60 << 20);
    account.settle().unwrap();
    assert_eq!(pool.reserved(), 56 << 20, "the batch, but for the slack");
    hold(-60);
    account.settle().unwrap();
    assert_eq!(pool.reserved(), 0, "the batch is gone");
}

#[test]
fn who_takes_what_it_can_get_leaves_room_for_others() {
    let (pool, hog) = account();
    let operator = MemoryConsumer::new("join").register(&(hog.clone() as Arc<dyn MemoryPool>));
    while operator.try_grow(1 << 20).is_ok() {}
    assert_eq!(pool.reserved(), 150 << 20, "three times as much as is left");
    let other = Account::open(&pool);
    let sort = MemoryConsumer::new("sort").register(&(other.clone() as Arc<dyn MemoryPool>));
    sort.try_grow(30 << 20).expect("there is room for others");
    assert!(other.room_for(10 << 20).is_err(), "but it grows no further than its share of what is left");
    let client = ClientMemory::new(&pool);
    drop(client.hold(10 << 20).expect("nor do they take all"));
}
