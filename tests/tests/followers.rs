//! What was acknowledged through the leader, every node knows: a follower hears of it only with its leader's next message, and must not
//! answer by what it knows until then.

use anyhow::{Result, ensure};
use leasehold_client::{Acquisition, Client, ClientOptions, Wait};
use leasehold_proto::dapr::dapr_client::DaprClient;
use leasehold_proto::dapr::unlock_response::Status;
use leasehold_proto::dapr::{TryLockRequest, UnlockRequest};
use leasehold_testkit::cluster::{Cluster, ClusterOptions};
use leasehold_tests::alone;
use tonic::transport::Endpoint;

const STORE: &str = "lockstore";
/// A follower that answers too early is ahead of its leader's next message in nearly all of them.
const ROUNDS: usize = 30;

/// The client addresses of the leader and of a follower.
async fn ends(cluster: &Cluster) -> Result<(String, String)> {
    let leader = cluster.wait_leader().await?;
    let follower = cluster.ids().into_iter().find(|id| *id != leader).unwrap_or(leader);
    Ok((cluster.node(leader).client_address(), cluster.node(follower).client_address()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_try_through_a_follower_is_not_told_of_a_holder_that_has_released() -> Result<()> {
    let _alone = alone().await;
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let (leader, follower) = ends(&cluster).await?;
    let leader = Client::connect(ClientOptions::new([leader])).await?;
    let follower = Client::connect(ClientOptions::new([follower])).await?;
    for round in 0..ROUNDS {
        let name = format!("handed-on-{round}");
        let guard = leader.lock(&name).own_lease().acquire().await?;
        // So the follower has applied the grant.
        ensure!(follower.get(&name).await?.holders.len() == 1, "{name} is held");
        guard.release().await?;
        let tried = follower.lock(&name).own_lease().acquire_raw(Wait::Try).await?;
        ensure!(matches!(tried, Acquisition::Acquired(_)), "{name} was released: {tried:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unlock_by_owner_through_a_follower_finds_what_was_locked_through_the_leader() -> Result<()> {
    let _alone = alone().await;
    let config = vec!["[[dapr.stores]]".into(), format!("name = \"{STORE}\""), "app-id = \"default\"".into()];
    let cluster = Cluster::start(ClusterOptions { config, ..ClusterOptions::default() }).await?;
    let (leader, follower) = ends(&cluster).await?;
    let mut leader = DaprClient::new(Endpoint::from_shared(format!("http://{leader}"))?.connect().await?);
    let mut follower = DaprClient::new(Endpoint::from_shared(format!("http://{follower}"))?.connect().await?);
    for round in 0..ROUNDS {
        let (store_name, resource_id, lock_owner) = (STORE.to_owned(), format!("r-{round}"), "me".to_owned());
        let lock = TryLockRequest {
            store_name: store_name.clone(),
            resource_id: resource_id.clone(),
            lock_owner: lock_owner.clone(),
            expiry_in_seconds: 60,
        };
        ensure!(leader.try_lock_alpha1(lock).await?.into_inner().success, "nobody else asks for {resource_id}");
        let unlock = UnlockRequest { store_name, resource_id, lock_owner };
        let status = follower.unlock_alpha1(unlock).await?.into_inner().status();
        ensure!(status == Status::Success, "round {round}: {status:?}");
    }
    Ok(())
}
