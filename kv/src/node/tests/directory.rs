//! Entries of the directory, written by those who are late.

use std::sync::Arc;

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
