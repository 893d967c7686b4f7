//! Leasehold as a target.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use leasehold_client::{Acquired, Acquisition, Client, ClientOptions, Renewed, Wait};

use super::stages::Stages;
use super::{Locker, Target};
use crate::clock::Moment;
use crate::cluster::{Cluster, ClusterOptions, PATIENCE, eventually};

/// A node that lags by no more takes part again.
const LAG_MAX: u64 = 300;

/// Three nodes of the binary under test.
#[derive(Debug)]
pub struct LeaseholdCluster {
    cluster: Cluster,
    what: String,
}

impl LeaseholdCluster {
    /// Starts it with these lines of `[tuning]`; none: as it comes.
    pub async fn start(tuning: Vec<String>) -> Result<Self> {
        let timing = if tuning.is_empty() { "default timing".to_owned() } else { tuning.join(", ") };
        let cluster = Cluster::start(ClusterOptions { tuning, ..ClusterOptions::default() }).await?;
        Ok(Self { cluster, what: format!("leasehold ({timing})") })
    }

    async fn all_take_part(&self) -> Option<u64> {
        let leader = self.cluster.wait_leader().await.ok()?;
        let status = self.cluster.status(leader).await?;
        let most = status.nodes.iter().map(|node| node.applied).max()?;
        let all = status.nodes.iter().all(|node| node.up && node.applied + LAG_MAX >= most);
        all.then_some(leader)
    }
}

impl Target for LeaseholdCluster {
    type Locker = LeaseholdLocker;

    fn name(&self) -> String {
        self.what.clone()
    }

    async fn locker(&self, number: usize) -> Result<LeaseholdLocker> {
        LeaseholdLocker::connect(self.cluster.endpoints(), format!("locker-{number}")).await
    }

    async fn settle(&mut self) -> Result<u64> {
        eventually(PATIENCE, "all nodes take part", || self.all_take_part()).await
    }

    async fn term(&mut self) -> Result<u64> {
        let leader = self.cluster.wait_leader().await?;
        Ok(self.cluster.status(leader).await.context("the leader says nothing")?.term)
    }

    fn kill(&mut self, node: u64) -> Result<()> {
        self.cluster.node_mut(node).kill()
    }

    fn start(&mut self, node: u64) -> Result<()> {
        self.cluster.node_mut(node).start()
    }

    fn pause(&mut self, node: u64) -> Result<()> {
        self.cluster.node_mut(node).pause()
    }

    fn resume(&mut self, node: u64) {
        self.cluster.node_mut(node).resume();
    }

    fn stages(&self, ended: u64, at: Moment) -> Option<Stages> {
        let others = self.cluster.ids().into_iter().filter(|node| *node != ended);
        let words: Vec<(u64, String)> = others.map(|node| (node, self.cluster.node(node).log_text())).collect();
        Stages::read(&words, at)
    }
}

/// A client.
#[derive(Debug)]
pub struct LeaseholdLocker {
    client: Client,
}

impl LeaseholdLocker {
    /// One of all these nodes, under that name.
    pub async fn connect(endpoints: impl IntoIterator<Item = String>, owner: String) -> Result<Self> {
        let mut options = ClientOptions::new(endpoints);
        options.owner = owner;
        Ok(Self { client: Client::connect(options).await? })
    }
}

impl Locker for LeaseholdLocker {
    type Hold = Acquired;

    async fn lock(&mut self, name: &str, ttl: Duration, wait: Duration, _: bool) -> Result<Option<Acquired>> {
        let lock = self.client.lock(name).own_lease().ttl(ttl);
        match lock.acquire_raw(Wait::For(wait)).await? {
            Acquisition::Acquired(acquired) => Ok(Some(acquired)),
            Acquisition::TimedOut | Acquisition::Held(_) => Ok(None),
            Acquisition::Deadlock(cycle) => bail!("{cycle}"),
        }
    }

    async fn renew(&mut self, hold: &Acquired) -> Result<bool> {
        Ok(matches!(self.client.renew(&hold.lease, None).await?, Renewed::Alive { .. }))
    }

    async fn unlock(&mut self, hold: Acquired) -> Result<()> {
        self.client.release(&hold.name, hold.token).await?;
        Ok(())
    }

    fn token(hold: &Acquired) -> u64 {
        hold.token.0
    }
}
