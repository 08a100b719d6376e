//! Entries of the directory, written by those who are late.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use super::cluster::{Cluster, row, simulate};
use crate::api::*;
use crate::descriptor::RangeDescriptor;
use crate::directory;
use crate::keys;
use crate::router::LocalRanges;

/// Before it writes anything, somebody else enters something newer.
struct Late {
    sender: Arc<dyn Sender>,
    newer: RangeDescriptor,
}

#[async_trait]
impl Sender for Late {
    async fn send(&self, batch: BatchRequest) -> Result<BatchResponse, KvError> {
        if !batch.requests.iter().all(|request| matches!(request.kind, Some(RequestKind::Scan(_)))) {
            directory::repair(&*self.sender, &self.newer, 0).await?;
        }
        self.sender.send(batch).await
    }
}

#[test]
fn a_late_repair_undoes_nothing_newer() {
    simulate(130, async {
        let cluster = Cluster::of(130, 1).await;
        let sender = cluster.node(1).sender();
        let of_generation = |generation: u64| {
            let held = cluster.node(1).store().held(directory::DATA_RANGE_ID).expect("held");
            RangeDescriptor { generation, ..held.replica.descriptor() }
        };
        let late = Late { sender: sender.clone(), newer: of_generation(7) };
        directory::repair(&late, &of_generation(6), 0).await.expect("repaired");
        let entries = directory::lookup(&*sender, keys::meta_scan_start(&row("a")), 0).await.expect("looked up");
        assert_eq!(entries[0].generation, 7, "an entry never goes back");
        directory::repair(&*sender, &of_generation(8), 0).await.expect("repaired");
        let entries = directory::lookup(&*sender, keys::meta_scan_start(&row("a")), 0).await.expect("looked up");
        assert_eq!(entries[0].generation, 8);
    });
}

/// Who routes by bounds of yesterday is served where the keys still lie in the range, and told the bounds of today where not.
#[test]
fn stale_routes_are_served_where_they_fit_and_corrected_where_not() {
    simulate(131, async {
        let cluster = Cluster::of(131, 1).await;
        for key in ["a", "z"] {
            cluster.put(1, key, key).await.expect("written");
        }
        let right = cluster.node(1).admin().split_at(row("m")).await.expect("split");
        let send = |kind: RequestKind| {
            let header = BatchHeader { range_id: directory::DATA_RANGE_ID, ..BatchHeader::default() };
            cluster.node(1).store().send_local(BatchRequest { header, requests: vec![kind.into()] })
        };
        let scan = |end: &str| RequestKind::Scan(Scan { start: row("a"), end: row(end), ..Scan::default() });
        assert!(send(scan("c")).await.is_ok());
        for kind in [scan("z"), RequestKind::Get(Get { key: row("z"), ..Get::default() })] {
            let Err(KvError::RangeMismatch(mismatch)) = send(kind).await else { panic!("it was served half") };
            let known: Vec<u64> = mismatch.descriptors.iter().map(|descriptor| descriptor.range_id).collect();
            assert_eq!(known, [directory::DATA_RANGE_ID, right]);
            assert_eq!(mismatch.descriptors[1].start, row("m"));
        }
    });
}

/// Counts what is asked, and the rows that come back.
struct Counted {
    sender: Arc<dyn Sender>,
    batches: AtomicUsize,
    rows: AtomicUsize,
}

#[async_trait]
impl Sender for Counted {
    async fn send(&self, batch: BatchRequest) -> Result<BatchResponse, KvError> {
        self.batches.fetch_add(1, Ordering::Relaxed);
        let answer = self.sender.send(batch).await?;
        for response in &answer.responses {
            let rows = match &response.kind {
                Some(ResponseKind::Rows(rows)) => rows.rows.len(),
                Some(ResponseKind::Value(value)) => usize::from(value.value.is_some()),
                _ => 0,
            };
            self.rows.fetch_add(rows, Ordering::Relaxed);
        }
        Ok(answer)
    }
}

#[test]
fn a_range_is_found_by_its_id_in_one_read() {
    simulate(131, async {
        let cluster = Cluster::of(131, 1).await;
        let admin = cluster.node(1).admin();
        let mut rights = Vec::new();
        for split in 0..40 {
            rights.push(admin.split_at(row(&format!("k{split:02}"))).await.expect("split"));
        }
        let counted =
            Counted { sender: cluster.node(1).sender(), batches: AtomicUsize::new(0), rows: AtomicUsize::new(0) };
        // The first and the last of the directory, and one between that was split since it was entered first.
        for range_id in [directory::FIRST_RANGE_ID, directory::DATA_RANGE_ID, rights[20], rights[39]] {
            let found = directory::find(&counted, range_id, 0).await.expect("read").expect("it is entered");
            let held = cluster.node(1).store().held(range_id).expect("held").replica.descriptor();
            assert_eq!((found.range_id, &found.start, &found.end), (range_id, &held.start, &held.end));
            let read = (counted.batches.swap(0, Ordering::Relaxed), counted.rows.swap(0, Ordering::Relaxed));
            assert_eq!(read, (1, 1), "batches and rows for range {range_id}");
        }
        assert_eq!(directory::find(&counted, 999, 0).await.expect("read"), None);
    });
}

/// An entry by ID is no older than the one by key, whoever comes late.
#[test]
fn a_late_entry_under_a_former_end_does_not_replace_the_newer_one_by_id() {
    simulate(132, async {
        let cluster = Cluster::of(132, 1).await;
        let sender = cluster.node(1).sender();
        let held = cluster.node(1).store().held(directory::DATA_RANGE_ID).expect("held").replica.descriptor();
        let newer = RangeDescriptor { generation: 7, end: row("m"), ..held.clone() };
        let late = RangeDescriptor { generation: 6, ..held };
        directory::repair(&*sender, &newer, 0).await.expect("entered");
        directory::repair(&*sender, &late, 0).await.expect("entered");
        let found = directory::find(&*sender, directory::DATA_RANGE_ID, 0).await.expect("read").expect("entered");
        assert_eq!((found.generation, found.end), (7, row("m")));
    });
}
