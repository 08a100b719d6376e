use datafusion::execution::memory_pool::GreedyMemoryPool;

use super::*;

#[test]
fn what_is_held_beyond_a_clients_own_is_reserved_until_it_is_dropped() {
    let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(10 << 20));
    let client = ClientMemory::new(&pool);
    let own = client.hold(FREE_BYTES).expect("every client's own");
    assert_eq!(pool.reserved(), 0);
    let mut more = client.hold(6 << 20).expect("there is room");
    let other = ClientMemory::new(&pool);
    let refused = other.hold(6 << 20).expect_err("there is no room left");
    assert_eq!((refused.code, refused.message.as_str()), ("53200", "out of memory"));
    assert_eq!(other.held_bytes(), 0);
    assert!(more.grow(5 << 20).is_err());
    assert_eq!((more.bytes(), pool.reserved()), (6 << 20, 6 << 20), "what is refused changes nothing");
    more.resize(1 << 20).expect("less is always possible");
    drop(own);
    assert_eq!(pool.reserved(), 0, "what is left is its own again");
    assert!(other.hold(10 << 20).is_err(), "nobody has all of it");
    drop(other.hold(8 << 20).expect("there is room"));
    drop((more, client));
    assert_eq!(pool.reserved(), 0);
}
