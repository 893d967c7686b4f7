//! What a read through any node sees.

use std::sync::mpsc;

use leasehold_consensus::Tuning;
use leasehold_consensus::clock::deadline_after;
use tokio::sync::oneshot;
use tokio::task::block_in_place;

use crate::cluster::{Cluster, SOON, holds};

/// Takes many times as long as a read that waits for nothing but its leader.
const GRANTS_MEANWHILE: usize = 20;

/// The round that confirms a read index tells the followers of the commit too, so that mostly they have applied it by the time the answer
/// comes. This one is held up: somebody looks at its state for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_through_a_follower_waits_until_that_has_applied_what_was_acknowledged() {
    let mut cluster = Cluster::start(3, Tuning { leader_wait_max: SOON, ..Tuning::default() }).await;
    let leader = cluster.leader().await;
    let follower = if leader == 1 { 2 } else { 1 };
    cluster.stop(follower).await;
    // Its threads are its own: while one of them waits for the state, everybody else goes on.
    let apart = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    block_in_place(|| apart.block_on(cluster.restart(follower)));
    cluster.grant(follower, "before").await;

    let node = cluster.running[&follower].clone();
    let (release, released) = mpsc::channel::<()>();
    let (looking, looks) = oneshot::channel();
    let looker = std::thread::spawn({
        let node = node.clone();
        move || {
            let _state = node.state();
            looking.send(()).unwrap();
            // Ends with the sender.
            let _ = released.recv();
        }
    });
    looks.await.unwrap();
    let token = cluster.grant(leader, "acknowledged").await;
    let reading = node.clone();
    let read = tokio::spawn(async move { reading.read_barrier(deadline_after(SOON)).await });
    for number in 0..GRANTS_MEANWHILE {
        cluster.grant(leader, &format!("meanwhile-{number}")).await;
    }
    let early = read.is_finished();
    drop(release);
    looker.join().unwrap();
    assert!(!early, "the read did not wait for what it has to see");
    read.await.unwrap().unwrap();
    assert!(holds(&node, "acknowledged", token));
    block_in_place(|| apart.block_on(cluster.stop(follower)));
    apart.shutdown_background();
}
