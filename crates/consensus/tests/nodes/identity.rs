//! Whose data folder it is.

use std::time::Duration;

use leasehold_consensus::{StartError, StopReason, Tuning};
use tokio::net::TcpListener;

use crate::cluster::{Cluster, holds};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_may_not_come_back_under_its_id() {
    let mut cluster = Cluster::start(3, Tuning::default()).await;
    let token = cluster.grant(2, "held").await;
    cluster.agree().await;
    cluster.stop(3).await;
    std::fs::remove_dir_all(cluster.folders[&3].path().join("data")).unwrap();
    cluster.restart(3).await;
    let wiped = cluster.running.remove(&3).unwrap();
    let reason = tokio::time::timeout(Duration::from_secs(20), wiped.stopped()).await.expect("it stops");
    match reason {
        StopReason::Identity(text) => assert!(text.contains("never used") && text.contains("node 3"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert!(holds(&cluster.running[&2], "held", token));
    cluster.grant(1, "others go on").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_another_node_is_refused() {
    let mut cluster = Cluster::start(1, Tuning::default()).await;
    cluster.leader().await;
    cluster.stop(1).await;
    let folder = cluster.folders.remove(&1).unwrap();
    cluster.folders.insert(2, folder);
    cluster.peers.insert(2, "127.0.0.1:1".into());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    match cluster.launch(2, listener).await {
        Err(StartError::Identity(text)) => assert!(text.contains("belongs to node 1"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_may_not_share_a_folder() {
    let mut cluster = Cluster::start(1, Tuning::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    match cluster.launch(1, listener).await {
        Err(StartError::Data(text)) => assert!(text.contains("another process uses it"), "{text}"),
        other => panic!("{other:?}"),
    }
}
