//! Format levels: founded at the lowest, raised when all can follow, and never followed beyond what a node supports.

use std::time::Duration;

use leasehold_consensus::clock::deadline_after;
use leasehold_consensus::{RaiseLevelError, RaisedLevel, StartError, StopReason, SubmitError, Tuning};
use leasehold_state_machine::{LEVEL_FIRST, LEVEL_MAX, Operation, Outcome, Refusal, SetLevel};

use crate::cluster::{Cluster, SOON, applied, holds, open_session};

async fn raise(cluster: &Cluster, through: u64, level: Option<u32>) -> Result<RaisedLevel, RaiseLevelError> {
    cluster.running[&through].raise_level(level, deadline_after(SOON)).await
}

fn level(cluster: &Cluster, node: u64) -> u32 {
    cluster.running[&node].state().level()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_one_build_begin_at_its_level() {
    let mut cluster = Cluster::start(3, Tuning::default()).await;
    cluster.grant(1, "founded").await;
    cluster.agree().await;
    for node in 1..=3 {
        assert_eq!(level(&cluster, node), LEVEL_MAX);
        assert!(!matches!(cluster.submit(node, open_session()).await.unwrap(), Outcome::Refused(_)));
    }
    let status = cluster.running[&2].status().await;
    assert_eq!((status.level, status.nodes[0].level_max), (LEVEL_MAX, LEVEL_MAX));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lowest_member_sets_the_level_until_it_is_upgraded() {
    let mut cluster = Cluster::start_with_levels(3, Tuning::default(), &[(2, LEVEL_FIRST)]).await;
    cluster.grant(1, "founded").await;
    cluster.agree().await;
    for node in 1..=3 {
        assert_eq!(level(&cluster, node), LEVEL_FIRST);
        let before = applied(&cluster.running[&node]);
        let refused = cluster.submit(node, open_session()).await;
        assert_eq!(refused, Err(SubmitError::Level { needed: 2, level: LEVEL_FIRST }), "through node {node}");
        assert_eq!(applied(&cluster.running[&node]), before, "nothing reached the log");
    }
    let unsupported = RaiseLevelError::Unsupported { level: 2, by: vec![(2, LEVEL_FIRST)] };
    assert_eq!(raise(&cluster, 3, Some(2)).await, Err(unsupported));
    let as_high_as_all_go = raise(&cluster, 3, None).await;
    assert_eq!(as_high_as_all_go, Ok(RaisedLevel { level: LEVEL_FIRST, before: LEVEL_FIRST }));

    cluster.stop(2).await;
    assert_eq!(raise(&cluster, 1, None).await, Err(RaiseLevelError::Silent { silent: vec![2] }));
    cluster.level_max.clear();
    cluster.restart(2).await;
    let status = cluster.running[&1].status().await;
    assert!(status.nodes.iter().all(|node| node.level_max == LEVEL_MAX), "{status:?}");

    assert_eq!(raise(&cluster, 2, None).await, Ok(RaisedLevel { level: 2, before: LEVEL_FIRST }));
    assert_eq!(raise(&cluster, 3, None).await, Ok(RaisedLevel { level: 2, before: 2 }), "once is enough");
    assert_eq!(raise(&cluster, 3, Some(1)).await, Err(RaiseLevelError::Lower { asked: 1, level: 2 }));
    // At once on every node, also on one that has not heard of it yet.
    for node in 1..=3 {
        let outcome = cluster.submit(node, open_session()).await.unwrap();
        assert!(!matches!(outcome, Outcome::Refused(_)), "through node {node}: {outcome:?}");
    }
}

/// Raises the level without asking the members, as no node does.
async fn raise_unasked(cluster: &Cluster, through: u64) {
    let outcome = cluster.submit(through, Operation::SetLevel(SetLevel { level: 2 })).await.unwrap();
    assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_follow_stops_before_it_diverges() {
    let mut cluster = Cluster::start_with_levels(3, Tuning::default(), &[(3, LEVEL_FIRST)]).await;
    let token = cluster.grant(1, "held").await;
    cluster.agree().await;
    let unable = cluster.running[&3].clone();
    raise_unasked(&cluster, 1).await;
    let text = match cluster.ended(3).await {
        StopReason::Level(text) => text,
        other => panic!("{other:?}"),
    };
    assert!(text.contains("needs format level 2") && text.contains("supports level 1"), "{text}");
    assert!(text.contains("Start a build that supports level 2"), "{text}");
    assert_eq!(unable.state().level(), LEVEL_FIRST, "its tables are those before the entry");
    assert!(holds(&unable, "held", token));
    let others = cluster.grant(1, "others go on").await;
    assert!(matches!(cluster.submit(2, open_session()).await, Ok(outcome) if !matches!(outcome, Outcome::Refused(_))));

    // Started again as it is, it applies the same entry, at once or as soon as a leader tells it that it is committed.
    drop(unable);
    let again = match cluster.try_restart(3).await {
        Err(StartError::Level(text)) => text,
        Err(other) => panic!("{other:?}"),
        Ok(()) => match cluster.ended(3).await {
            StopReason::Level(text) => text,
            other => panic!("{other:?}"),
        },
    };
    assert!(again.contains("needs format level 2"), "{again}");

    cluster.level_max.clear();
    cluster.restart(3).await;
    let last = cluster.grant(3, "it follows again").await;
    cluster.agree().await;
    assert_eq!(level(&cluster, 3), 2);
    for (name, token) in [("held", token), ("others go on", others), ("it follows again", last)] {
        assert!(holds(&cluster.running[&3], name, token), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_a_higher_level_is_refused_at_the_start_and_left_as_it_is() {
    let mut cluster = Cluster::start(1, Tuning::default()).await;
    let token = cluster.grant(1, "held").await;
    // The last checkpoint is at the level of the cluster.
    cluster.stop(1).await;
    cluster.level_max.insert(1, LEVEL_FIRST);
    for _ in 0..2 {
        match cluster.try_restart(1).await {
            Err(StartError::Level(text)) => {
                assert!(text.contains("checkpoint") && text.contains("needs format level 2"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
    cluster.level_max.clear();
    cluster.restart(1).await;
    cluster.grant(1, "next").await;
    assert!(holds(&cluster.running[&1], "held", token));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_a_higher_level_stops_the_node_and_changes_nothing() {
    let tuning = Tuning { snapshot_entries: 60, keep_entries: 10, ..Tuning::default() };
    let mut cluster = Cluster::start_with_levels(3, tuning, &[(3, LEVEL_FIRST)]).await;
    let token = cluster.grant(1, "held").await;
    cluster.agree().await;
    cluster.stop(3).await;
    raise_unasked(&cluster, 1).await;
    // Well over one purge batch beyond a snapshot, so that only a snapshot can bring it up.
    for index in 0..700 {
        cluster.grant(1, &format!("lock-{index:03}")).await;
    }
    cluster.restart(3).await;
    let unable = cluster.running[&3].clone();
    let text = match cluster.ended(3).await {
        StopReason::Level(text) => text,
        other => panic!("{other:?}"),
    };
    assert!(text.contains("snapshot") && text.contains("needs format level 2"), "{text}");
    assert_eq!(unable.state().level(), LEVEL_FIRST);
    assert!(holds(&unable, "held", token) && unable.state().lock("default", "lock-000").is_none());

    drop(unable);
    match cluster.try_restart(3).await {
        Err(StartError::Level(text)) => assert!(text.contains("snapshot"), "{text}"),
        other => panic!("the snapshot is on its disk: {other:?}"),
    }
    cluster.level_max.clear();
    cluster.restart(3).await;
    cluster.grant(3, "it follows again").await;
    cluster.agree().await;
    assert!(cluster.running[&3].state().lock("default", "lock-699").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_the_cluster_is_founded_nothing_of_a_later_level_is_proposed() {
    let mut cluster = Cluster::start(1, Tuning::default()).await;
    // It leads before it has founded the cluster; from then on it serves.
    let served = async {
        loop {
            match cluster.submit(1, open_session()).await.unwrap() {
                Outcome::Refused(Refusal::NotFounded) => tokio::time::sleep(Duration::from_millis(1)).await,
                other => return other,
            }
        }
    };
    let outcome = tokio::time::timeout(SOON, served).await.expect("in time");
    assert!(!matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    cluster.stop(1).await;
}
