//! The cluster's settings: the founder's, whatever other nodes were started with, and changed while all run.

use std::time::Duration;

use super::cluster::{Cluster, simulate};
use crate::node::SettingError;
use crate::settings::InvalidSetting;
use crate::settings::cluster::REPLICATION_FACTOR;

fn shown(cluster: &Cluster, id: u64) -> String {
    let settings = cluster.node(id).admin().settings();
    settings.into_iter().find(|info| info.name == REPLICATION_FACTOR).expect("it is one of them").value
}

#[test]
fn the_founder_says_how_many_copies_there_are() {
    simulate(500, async {
        let mut cluster = Cluster::new(500);
        cluster.settings.system_replication_target = 3;
        cluster.add("").await;
        // Of five nodes four would keep five copies, and whoever leads would undo what others did.
        cluster.settings.replication_target = 5;
        for _ in 0..4 {
            cluster.add("").await;
        }
        cluster.replicated(3).await;
        cluster.put(5, "a", "1").await.expect("written");
        for id in 1..=5 {
            cluster.node(1).admin().transfer_lease(super::row("a"), id).await.ok();
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        cluster.replicated(3).await;
        assert!((1..=5).all(|id| shown(&cluster, id) == "3"));
        // Nor does it change with a restart.
        for id in 1..=5 {
            cluster.crash(id).await;
            cluster.start(id).await;
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
        cluster.replicated(3).await;
        assert!((1..=5).all(|id| shown(&cluster, id) == "3"));
    });
}

#[test]
fn a_change_reaches_all_nodes_and_the_copies_follow() {
    simulate(501, async {
        let mut cluster = Cluster::of(501, 5).await;
        cluster.put(1, "a", "1").await.expect("written");
        let admin = cluster.node(4).admin();
        admin.set_setting(REPLICATION_FACTOR, Some("5")).await.expect("it is written");
        assert_eq!(shown(&cluster, 4), "5", "whoever changed it sees it at once");
        cluster.replicated(5).await;
        assert!((1..=5).all(|id| shown(&cluster, id) == "5"));
        drop(admin);
        cluster.crash(2).await;
        cluster.start(2).await;
        assert_eq!(shown(&cluster, 2), "5", "it is among the hints of its former life");
        cluster.settings.system_replication_target = 3;
        cluster.node(2).admin().set_setting(REPLICATION_FACTOR, None).await.expect("it is written");
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!((1..=5).all(|id| shown(&cluster, id) == "3"));
    });
}

#[test]
fn what_does_not_fit_is_refused() {
    simulate(502, async {
        let cluster = Cluster::of(502, 1).await;
        let admin = cluster.node(1).admin();
        let refused = admin.set_setting(REPLICATION_FACTOR, Some("4")).await.expect_err("an even number");
        assert!(matches!(refused, SettingError::Invalid(InvalidSetting::Value { .. })), "{refused}");
        let refused = admin.set_setting("cluster.colour", None).await.expect_err("no such setting");
        assert!(matches!(refused, SettingError::Invalid(InvalidSetting::Unknown(_))), "{refused}");
        assert_eq!(shown(&cluster, 1), "3");
    });
}
