//! Leases that move and run out, under clocks that differ as far as they may and messages that come late, twice or never.

use std::cell::Cell;
use std::time::Duration;

use clock::Random;
use raft_groups::LinkFaults;

use super::cluster::{Cluster, row, simulate};
use super::commits::commit_of_two;
use crate::api::*;

/// One writer's counter: what it has begun to write, and what it was told is written.
#[derive(Default)]
struct Register {
    begun: Cell<u64>,
    done: Cell<u64>,
    writes: Cell<u64>,
}

/// Writes the next number until told that it is written. A retry is the same transaction, so that it counts once.
async fn write_next(cluster: &Cluster, gateway: u64, writer: u64, register: &Register) {
    let next = register.begun.get() + 1;
    register.begun.set(next);
    let (key, beside) = (format!("r{writer}"), format!("r{writer}x"));
    let name = u128::from(writer) << 64 | u128::from(next);
    let mut batch = commit_of_two(cluster, gateway, name, [&key, &beside], &format!("{next:06}"));
    if let Some(txn) = &mut batch.header.txn {
        // Nobody waits the commit out here, so that readers have to take the value for uncertain.
        txn.relaxed = true;
    }
    batch.header.timeout_ms = 2_000;
    loop {
        match cluster.send_batch(gateway, batch.clone()).await {
            Ok(_) | Err(KvError::AlreadyCommitted(_)) => break,
            Err(KvError::Ambiguous(_) | KvError::Unavailable(_) | KvError::NotLeaseholder(_)) => {}
            Err(error) => panic!("write {next} of {key}: {error:?}"),
        }
    }
    register.done.set(next);
    register.writes.set(register.writes.get() + 1);
}

async fn check_read(cluster: &Cluster, gateway: u64, writer: u64, register: &Register) -> bool {
    let at_least = register.done.get();
    let header = BatchHeader { timeout_ms: 2_000, ..BatchHeader::default() };
    let requests = vec![RequestKind::Get(Get { key: row(&format!("r{writer}")), ..Get::default() }).into()];
    let Ok(mut response) = cluster.send_batch(gateway, BatchRequest { header, requests }).await else { return false };
    let Some(ResponseKind::Value(found)) = response.responses.remove(0).kind else { panic!("{response:?}") };
    let found = found.value.map_or(0, |value| String::from_utf8_lossy(&value).parse().expect("a number"));
    let at_most = register.begun.get();
    assert!(
        (at_least..=at_most).contains(&found),
        "read_protected: n{gateway} read {found} of writer {writer}, between {at_least} done and {at_most} begun{}",
        cluster.describe()
    );
    true
}

async fn churn(seed: u64, skews_ms: [i64; 3], pause_holder: bool) {
    let cluster = Cluster::of(seed, 3).await;
    cluster.replicated(3).await;
    for (id, skew_ms) in (1..).zip(skews_ms) {
        cluster.skew(id, skew_ms);
    }
    let usual = LinkFaults {
        delay_min: Duration::from_micros(100),
        delay_max: Duration::from_millis(15),
        loss: 0.01,
        duplication: 0.2,
        is_cut: false,
    };
    cluster.network.set_usual(usual);
    let registers = [Register::default(), Register::default(), Register::default()];
    let reads = Cell::new(0_u64);
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    let is_over = || tokio::time::Instant::now() >= end;
    let writing = futures::future::join_all((1..=3).map(|writer| {
        let (cluster, register) = (&cluster, &registers[writer as usize - 1]);
        async move {
            while !is_over() {
                tokio::time::sleep(Duration::from_millis(5)).await;
                write_next(cluster, writer, writer, register).await;
            }
        }
    }));
    let reading = futures::future::join_all((0..6_u64).map(|reader| {
        let (cluster, registers, reads) = (&cluster, &registers, &reads);
        async move {
            let mut writer = reader % 3;
            while !is_over() {
                writer = (writer + 1) % 3;
                // At the leaseholder itself a read takes no time at all.
                tokio::time::sleep(Duration::from_millis(5)).await;
                if check_read(cluster, 1 + reader % 3, writer + 1, &registers[writer as usize]).await {
                    reads.set(reads.get() + 1);
                }
            }
        }
    }));
    let moving = async {
        let random = Random::from_seed(seed);
        while !is_over() {
            tokio::time::sleep(Duration::from_millis(random.range(50, 900))).await;
            let target = random.range(1, 4);
            if pause_holder && random.chance(0.3) {
                let Some(holder) = cluster.leaseholder("r1") else { continue };
                cluster.network.pause(holder.into());
                tokio::time::sleep(Duration::from_millis(random.range(500, 4_000))).await;
                cluster.network.resume(holder.into());
            } else {
                // It may hold no lease to give, or be cut short: the next one finds out.
                let admin = cluster.node(target).admin();
                let moved = admin.transfer_lease(row("r1"), random.range(1, 4));
                let _ = tokio::time::timeout(Duration::from_secs(2), moved).await;
            }
        }
    };
    tokio::join!(writing, reading, moving);
    cluster.network.set_usual(LinkFaults::default());
    cluster.check_replica_equality().await;
    for (writer, register) in (1..).zip(&registers) {
        assert!(check_read(&cluster, 1, writer, register).await, "healed, everything answers");
        assert!(register.writes.get() >= 10, "writer {writer} got through {} times", register.writes.get());
    }
    assert!(reads.get() >= 100, "{} reads were answered", reads.get());
}

#[test]
fn leases_that_move_lose_no_write_and_show_no_old_one() {
    for seed in 500..503 {
        simulate(seed, churn(seed, [-9, 0, 9], false));
    }
}

#[test]
fn leases_that_run_out_lose_no_write_and_show_no_old_one() {
    for seed in 510..513 {
        simulate(seed, churn(seed, [9, -9, 0], true));
    }
}

#[test]
fn a_range_lets_go_of_what_was_read_long_ago() {
    simulate(140, async {
        let cluster = Cluster::of(140, 1).await;
        for index in 0..200 {
            cluster.get(1, format!("k{index}")).await.expect("read");
        }
        let held = cluster.node(1).store().held(crate::directory::DATA_RANGE_ID).expect("held");
        // What was read before the lease began is below its start anyway.
        assert!(held.replica.remembered_reads() >= 150, "{}", held.replica.remembered_reads());
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert_eq!(held.replica.remembered_reads(), 0);
        cluster.put(1, "k0", "1").await.expect("written");
    });
}
