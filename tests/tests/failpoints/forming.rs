//! What a node comes by when it is new, and its cluster with it.

use anyhow::{Context, Result, ensure};
use leasehold_client::{Client, ClientOptions};
use leasehold_testkit::cluster::{Cluster, ClusterOptions, Ended, PATIENCE, eventually};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::lane::{Effect, effects, tell, turn};

/// The failpoint, the node, and how many hits pass before.
pub(crate) const CASES: &[(&str, u64, u64)] = &[
    ("identity::create::before", 1, 0),
    ("record::create::before", 1, 0),
    ("record::write::before", 2, 0),
    ("record::write::after", 1, 0),
    ("record::sync::before", 2, 0),
    ("record::sync::after", 1, 0),
    ("record::rename::before", 2, 0),
    ("record::rename::after", 1, 0),
    ("folder::sync::before", 2, 0),
    ("folder::sync::after", 1, 0),
    ("identity::create::after", 2, 0),
    ("log::create::before", 1, 0),
    ("log::create::after", 2, 0),
    // The folder of the log, and the file that says what it is.
    ("folder::sync::before", 1, 1),
    ("record::create::before", 2, 1),
    ("record::rename::before", 1, 1),
    ("record::rename::after", 2, 1),
    ("formation::ask::before", 1, 0),
    // The cluster is recorded by the node that makes it, and by one that its leader speaks to.
    ("identity::join::before", 1, 0),
    ("identity::join::before", 2, 0),
    ("record::rename::before", 1, 2),
    ("identity::join::after", 1, 0),
    ("identity::join::after", 2, 0),
    ("formation::initialize::before", 1, 0),
    ("formation::initialize::after", 1, 0),
];

async fn form(point: &str, id: u64, after: u64, effect: Effect) -> Result<String> {
    let mut cluster = Cluster::place(&ClusterOptions { failpoints: true, ..ClusterOptions::default() })?;
    cluster.node_mut(id).arm_at_start(point, &format!("{},after={after}", effect.action()));
    for id in cluster.ids() {
        cluster.node_mut(id).start()?;
    }
    let failpoints = cluster.node(id).failpoints();
    let fired = || async { failpoints.get(point).await.is_ok_and(|point| point.fired > 0).then_some(()) };
    let outcome = match cluster.wait_ended(&[id], fired).await? {
        Ended::Otherwise(()) if effect == Effect::Abort => {
            // It is on its way out.
            let Ended::Process { status, .. } = cluster.wait_ended(&[id], || async { None::<()> }).await? else {
                unreachable!("nothing else was asked for")
            };
            format!("ended with {status}")
        }
        Ended::Process { status, .. } => format!("ended with {status}"),
        Ended::Otherwise(()) => "went on".to_owned(),
    };
    // It may have gone on for a moment only.
    cluster.node_mut(id).exited();
    cluster.node_mut(id).disarm_at_start();
    if !cluster.node(id).is_responsive() {
        cluster.node_mut(id).start()?;
    }
    cluster.wait_leader().await?;
    let client = Client::connect(ClientOptions::new(cluster.endpoints())).await?;
    // A leader is not all that a new cluster needs: it is founded a moment later.
    let grant = || async {
        let grant = client.lock("a").acquire().await.ok()?;
        let token = grant.token();
        grant.release().await.ok().map(|_| token)
    };
    let first = eventually(PATIENCE, "a lock is granted and released", grant).await?;
    let second = eventually(PATIENCE, "a lock is granted and released again", grant).await?;
    ensure!(first < second, "tokens ascend: {first} {second}");
    cluster.wait_all_applied().await?;
    Ok(outcome)
}

async fn sweep(first: usize) -> Result<()> {
    let _turn = turn().await?;
    let mut random = StdRng::seed_from_u64(leasehold_tests::seed("failpoints", "at_every_step_of_a_new_cluster"));
    for (point, id, after) in CASES.iter().skip(first).step_by(2) {
        for effect in effects(point, &mut random) {
            let formed = form(point, *id, *after, effect).await;
            let outcome = formed.with_context(|| format!("{point} with {} on node {id}", effect.action()))?;
            tell(point, effect, &format!("new node {id} {outcome}"));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_step_of_a_new_cluster_odd() -> Result<()> {
    sweep(0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_every_step_of_a_new_cluster_even() -> Result<()> {
    sweep(1).await
}
