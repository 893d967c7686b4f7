//! Nodes whose tables differ: the one that is wrong stops, says so, and does not serve with them again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leasehold_consensus::clock::deadline_after;
use leasehold_consensus::{Node, StartError, StopReason, SubmitError, Tuning, debug};
use leasehold_state_machine::storage::Checkpoint;
use leasehold_state_machine::{HeldLock, Operation, Outcome, Release, RestoreError, StateMachine};
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, SOON, holds};

/// Makes a stopped node believe that somebody else holds a lock: alters a row of its checkpoint, and the hash with it.
fn alter(checkpoint: &Path) {
    let checkpoint = Checkpoint::open(checkpoint).unwrap();
    let mut rows = checkpoint.load().unwrap().unwrap().rows();
    let owner = b"test";
    let place = |value: &[u8]| value.windows(owner.len()).position(|part| part == owner);
    let (at, row) = rows.iter_mut().find_map(|(_, value)| Some((place(value)?, value))).unwrap();
    row[at] = b'j';
    let Err(RestoreError::Hash { computed, recorded }) = StateMachine::from_rows(rows.clone()) else {
        panic!("an altered row goes unnoticed");
    };
    let (old, new) = (recorded.to_le_bytes(), computed.to_le_bytes());
    let header = rows.iter_mut().find_map(|(_, value)| {
        let at = value.windows(old.len()).position(|part| part == old)?;
        Some(&mut value[at..at + old.len()])
    });
    header.unwrap().copy_from_slice(&new);
    checkpoint.replace(rows).unwrap();
    checkpoint.flush().unwrap();
}

async fn stop_all_and_alter(cluster: &mut Cluster, altered: u64) {
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    alter_tables_of(cluster, altered);
}

fn alter_tables_of(cluster: &Cluster, id: u64) {
    alter(&cluster.data_dir(id).join("checkpoint"));
}

async fn diverged(cluster: &mut Cluster, id: u64) -> String {
    match cluster.ended(id).await {
        StopReason::Diverged(why) => why,
        other => panic!("node {id}: {other:?}"),
    }
}

async fn refuses_to_start(cluster: &mut Cluster, id: u64) {
    // Not even at the second try.
    for _ in 0..2 {
        match cluster.try_restart(id).await {
            Err(StartError::Diverged(why)) => {
                assert!(why.contains("diverged") && why.contains("replace this node"), "{why}");
            }
            other => panic!("node {id}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_other_tables_stops_and_does_not_start_on_them_again() {
    let mut cluster = Cluster::start(3, Tuning::default()).await;
    let token = cluster.grant(1, "held").await;
    cluster.agree().await;
    cluster.stop(3).await;
    alter_tables_of(&cluster, 3);
    cluster.restart(3).await;
    let why = diverged(&mut cluster, 3).await;
    for part in ["after log entry", "(this node)", "on node 1", "on node 2", "majority of the voters agrees against"] {
        assert!(why.contains(part), "{part}: {why}");
    }
    refuses_to_start(&mut cluster, 3).await;

    // The others go on, and say which node differs.
    let next = cluster.grant(2, "others go on").await;
    cluster.agree().await;
    for id in [1, 2] {
        let node = &cluster.running[&id];
        assert!(holds(node, "held", token) && holds(node, "others go on", next));
        let told = async {
            while node.comparisons().differing == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // Node 3 may have noticed, and gone, before this one asked it.
        let _ = tokio::time::timeout(Duration::from_secs(3), told).await;
        let compared = node.comparisons();
        assert!(compared.members[&(3 - id)].agreed.is_some() && compared.members[&(3 - id)].differs.is_none());
    }
    // What its log comes to can still be looked at.
    debug::dump_log(&cluster.data_dir(3), &mut Vec::new()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_with_other_tables_stops_too() {
    let mut cluster = Cluster::start(3, Tuning::default()).await;
    cluster.grant(1, "held").await;
    cluster.agree().await;
    stop_all_and_alter(&mut cluster, 1).await;
    // The others are in no hurry to lead.
    let quick = cluster.tuning.clone();
    let (election_min, election_max) = (Duration::from_secs(3), Duration::from_secs(4));
    cluster.tuning = Tuning { election_min, election_max, ..quick.clone() };
    cluster.restart(2).await;
    cluster.restart(3).await;
    cluster.tuning = quick;
    cluster.restart(1).await;
    assert_eq!(cluster.leader().await, 1);
    diverged(&mut cluster, 1).await;
    refuses_to_start(&mut cluster, 1).await;
    cluster.grant(2, "under another leader").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_differ_both_stop_when_the_third_cannot_decide() {
    let mut cluster = Cluster::start(3, Tuning::default()).await;
    cluster.grant(1, "held").await;
    cluster.agree().await;
    stop_all_and_alter(&mut cluster, 1).await;
    cluster.restart(1).await;
    cluster.restart(2).await;
    for id in [1, 2] {
        let why = diverged(&mut cluster, id).await;
        assert!(why.contains("No majority"), "{why}");
        refuses_to_start(&mut cluster, id).await;
    }
}

/// Takes and releases locks through a node until told to stop, or until that node stops: its folder is free once all that hold the
/// node let go of it.
async fn load(node: Node, acquire: Vec<Operation>, stop: Arc<AtomicBool>) {
    for operation in acquire {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let Operation::Acquire(asked) = &operation else { panic!("{operation:?}") };
        let name = asked.locks[0].name.clone();
        // Leaders come and go: what fails is tried no more.
        let granted = match node.submit(operation, deadline_after(SOON)).await {
            Ok(Outcome::Granted(granted)) => granted,
            Err(SubmitError::Stopping) => return,
            _ => continue,
        };
        let locks = vec![HeldLock { name, token: granted.grants[0].token }];
        let release = Release { namespace: "default".into(), locks, all_or_nothing: false };
        let _ = node.submit(Operation::Release(release), deadline_after(SOON)).await;
    }
}

/// Every running node has compared itself with a member at `more` further positions.
async fn compared(cluster: &Cluster, more: u64) -> u64 {
    let mut total = 0;
    for (id, node) in &cluster.running {
        let from = node.comparisons().compared;
        let enough = async {
            while node.comparisons().compared < from + more {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), enough).await.expect("it compares");
        let comparisons = node.comparisons();
        assert_eq!(comparisons.differing, 0, "node {id}: {comparisons:?}");
        total += comparisons.compared;
    }
    total
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_snapshots_and_leader_changes_under_load_are_no_differences() {
    let tuning = Tuning { snapshot_entries: 200, keep_entries: 50, ..Tuning::default() };
    let mut cluster = Cluster::start(3, tuning).await;
    let mut total = 0;
    for turn in 0..6 {
        let leader = cluster.leader().await;
        let stop = Arc::new(AtomicBool::new(false));
        let mut loads: BTreeMap<u64, Vec<JoinHandle<()>>> = BTreeMap::new();
        for (id, node) in cluster.running.clone() {
            for worker in 0..4 {
                let name = format!("lock-{worker}");
                let acquire: Vec<Operation> = (0..20_000).map(|_| cluster.acquire(&name)).collect();
                let load = tokio::spawn(load(node.clone(), acquire, Arc::clone(&stop)));
                loads.entry(id).or_default().push(load);
            }
        }
        // The leader goes and comes in every other turn, another node in those between.
        let away = if turn % 2 == 0 { leader } else { leader % 3 + 1 };
        cluster.stop(away).await;
        for load in loads.remove(&away).unwrap() {
            tokio::time::timeout(SOON, load).await.expect("calls to a stopped node end").unwrap();
        }
        total += compared(&cluster, 3).await;
        cluster.restart(away).await;
        total += compared(&cluster, 3).await;
        stop.store(true, Ordering::Relaxed);
        for load in loads.into_values().flatten() {
            load.await.unwrap();
        }
    }
    cluster.agree().await;
    println!("{total} state hashes were compared");
    assert!(total > 50, "{total}");
}
