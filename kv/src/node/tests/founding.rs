//! A founder that dies half-way, at whichever step.

use std::time::Duration;

use super::cluster::{Cluster, row, simulate};
use crate::api::{Delete, RequestKind};
use crate::keys;
use crate::liveness::NODE_ID_COUNTER;
use crate::replica::admin::RANGE_ID_COUNTER;

/// More polls than founding takes.
const POLLS_MAX: usize = 10_000;

/// Whenever the founder is killed, whatever it had written: started again it founds the cluster once, and no number is given
/// twice, neither to a node nor to a range.
#[test]
fn a_founder_killed_at_any_step_gives_no_number_twice() {
    let mut kills = 0;
    for polls in 0..POLLS_MAX {
        let killed = [true, false].map(|is_all_kept| {
            simulate(7, async move {
                let mut cluster = Cluster::new(7);
                let is_killed = cluster.add_and_kill(polls, is_all_kept).await;
                cluster.start(1).await;
                let what = format!("killed after {polls} polls, all kept: {is_all_kept}");
                for id in 2..=3 {
                    assert_eq!(cluster.join().await, id, "{what}: a node was given an ID that was taken");
                }
                cluster.put(1, "a", "1").await.expect("written");
                cluster.replicated(3).await;
                let right = cluster.node(2).admin().split_at(row("m")).await.expect("split");
                assert_eq!(right, 3, "{what}: a range was given an ID that was taken");
                tokio::time::sleep(Duration::from_secs(1)).await;
                cluster.put(3, "z", "1").await.expect("written");
                assert_eq!(cluster.get(2, "a").await.expect("read").as_deref(), Some("1"), "{what}");
                cluster.check_replica_equality().await;
                is_killed
            })
        });
        if killed == [false, false] {
            break;
        }
        kills += 1;
    }
    assert!(kills > 0 && kills < POLLS_MAX, "{kills} steps");
}

/// Were the counters ever to start again, what is taken is passed over.
#[test]
fn counters_that_start_again_give_no_number_twice() {
    simulate(8, async {
        let mut cluster = Cluster::of(8, 1).await;
        for counter in [NODE_ID_COUNTER, RANGE_ID_COUNTER] {
            let delete = Delete { key: keys::counter(counter), ..Delete::default() };
            cluster.send(1, RequestKind::Delete(delete)).await.expect("deleted");
        }
        assert_eq!(cluster.join().await, 2);
        let admin = cluster.node(1).admin();
        assert!(admin.split_at(row("m")).await.is_err() && admin.split_at(row("m")).await.is_err());
        assert_eq!(admin.split_at(row("m")).await.expect("split"), 3);
    });
}
