//! What a demonstration shows, step by step. Anything that is not as it should be ends it.

use std::time::Duration;

use leasehold_client::clock::{Clock, Moment};
use leasehold_client::{Client, ClientOptions, Guard, LockInfo, StatusResponse, Token, TryAcquire, cluster_status};
use tokio::task::JoinHandle;

use super::super::nodes::Nodes;
use super::in_time;
use crate::exit::Failure;
use crate::output::data;

const LOCK: &str = "nightly-report";
const TTL: Duration = Duration::from_secs(10);
/// Between two looks at the cluster while a step waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) struct Story {
    clock: Clock,
    start: Moment,
}

impl Story {
    pub(super) fn begin() -> Self {
        let clock = Clock::system();
        let start = clock.now();
        Self { clock, start }
    }

    pub(super) async fn tell(&self, nodes: &mut Nodes) -> Result<(), Failure> {
        let (leader, [one, other]) = self.formed(nodes).await?;
        let alice = client(nodes, one, "alice").await?;
        let bob = client(nodes, other, "bob").await?;
        let guard = self.taken(&alice, &bob, one, other).await?;
        let waiting = self.queued(&bob, other).await?;
        self.leader_killed(nodes, leader, other, &guard, &bob).await?;
        self.handed_over(guard, waiting).await?;
        self.caught_up(nodes, leader).await
    }

    fn say(&self, text: &str) {
        let since = self.clock.now().since(self.start);
        data(&format!("{:>7.3} s  {text}", since.as_secs_f64()));
    }

    /// A running cluster: its leader, and two others.
    async fn formed(&self, nodes: &mut Nodes) -> Result<(u64, [u64; 2]), Failure> {
        let ids = nodes.ids();
        self.say(&format!("starting {} server processes on loopback, data in {}", ids.len(), nodes.folder().display()));
        for id in &ids {
            nodes.start(*id)?;
        }
        let all = options(nodes.endpoints(), "demo");
        let (leader, status) = in_time("a leader", async {
            loop {
                nodes.check()?;
                if let Some((leader, status)) = led(&all).await
                    && status.nodes.iter().all(|node| node.up)
                {
                    return Ok((leader, status));
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        })
        .await?;
        self.say(&format!("node {leader} was elected leader, term {}", status.term));
        let mut others = ids.into_iter().filter(|id| *id != leader);
        match (others.next(), others.next()) {
            (Some(one), Some(other)) => Ok((leader, [one, other])),
            _ => Err(Failure::internal("too few nodes")),
        }
    }

    async fn taken(&self, alice: &Client, bob: &Client, one: u64, other: u64) -> Result<Guard, Failure> {
        let tried = in_time("the lock", async { Ok(alice.lock(LOCK).try_acquire().await?) }).await?;
        let TryAcquire::Acquired(guard) = tried else {
            return Err(Failure::internal(format!("{LOCK} is held in a new cluster")));
        };
        let token = guard.token();
        self.say(&format!("alice took the lock {LOCK:?} through node {one}: fencing token {token}"));
        let lock = in_time("reading the lock", async { Ok(bob.get(LOCK).await?) }).await?;
        expect_holder(&lock, "alice", token)?;
        self.say(&format!("node {other} says the same: held by alice, token {token}"));
        Ok(guard)
    }

    async fn queued(&self, bob: &Client, other: u64) -> Result<Waiting, Failure> {
        let waiting = tokio::spawn(bob.lock(LOCK).acquire());
        in_time("the queue", async {
            while bob.get(LOCK).await?.waiter_count == 0 {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(())
        })
        .await?;
        self.say(&format!("bob waits for it in the queue, through node {other}"));
        Ok(waiting)
    }

    async fn leader_killed(
        &self,
        nodes: &mut Nodes,
        leader: u64,
        other: u64,
        guard: &Guard,
        bob: &Client,
    ) -> Result<(), Failure> {
        let pid = nodes.kill(leader).await?;
        let killed = self.clock.now();
        self.say(&format!("kill -9 {pid}: node {leader}, the leader, is gone"));
        let lock = in_time("reading the lock without the old leader", async { Ok(bob.get(LOCK).await?) }).await?;
        let gap = self.clock.now().since(killed);
        expect_holder(&lock, "alice", guard.token())?;
        let survivors = options(vec![nodes.endpoint(other)?], "demo");
        let (successor, status) = in_time("a new leader", async {
            loop {
                match led(&survivors).await {
                    Some((new, status)) if new != leader => return Ok((new, status)),
                    _ => tokio::time::sleep(LOOK_EVERY).await,
                }
            }
        })
        .await?;
        let (term, token) = (status.term, guard.token());
        self.say(&format!(
            "node {successor} leads now, term {term}; {} ms after the kill it was known: held by alice, still token {token}",
            gap.as_millis()
        ));
        if !guard.is_held() {
            return Err(Failure::internal("alice lost the lock"));
        }
        Ok(())
    }

    async fn handed_over(&self, guard: Guard, waiting: Waiting) -> Result<(), Failure> {
        let old = guard.token();
        let answer = in_time("the release", async { Ok(guard.release().await?) }).await?;
        if !answer.released {
            return Err(Failure::internal("alice's lock had been lost before its release"));
        }
        self.say("alice released it");
        let guard = in_time("bob's turn", async {
            waiting.await.map_err(|error| Failure::internal(error.to_string()))?.map_err(Failure::from)
        })
        .await?;
        let new = guard.token();
        if new <= old {
            return Err(Failure::internal(format!("bob's token {new} is not above alice's, {old}")));
        }
        self.say(&format!(
            "bob, first in the queue, has it: token {new} > {old}, so a late write of alice's is refused"
        ));
        in_time("bob's release", async { Ok(guard.release().await?) }).await?;
        Ok(())
    }

    async fn caught_up(&self, nodes: &mut Nodes, dead: u64) -> Result<(), Failure> {
        nodes.start(dead)?;
        self.say(&format!("node {dead} is started again on its old data"));
        let all = options(nodes.endpoints(), "demo");
        let applied = in_time("catching up", async {
            loop {
                nodes.check()?;
                if let Some((_, status)) = led(&all).await
                    && let Some(applied) = level(&status)
                {
                    return Ok(applied);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        })
        .await?;
        self.say(&format!("it has caught up: all {} nodes have applied the log to index {applied}", nodes.ids().len()));
        Ok(())
    }
}

type Waiting = JoinHandle<Result<Guard, leasehold_client::Error>>;

fn options(endpoints: Vec<String>, owner: &str) -> ClientOptions {
    ClientOptions { owner: owner.to_owned(), session_ttl: TTL, ..ClientOptions::new(endpoints) }
}

async fn client(nodes: &Nodes, id: u64, owner: &str) -> Result<Client, Failure> {
    Ok(Client::connect(options(vec![nodes.endpoint(id)?], owner)).await?)
}

/// The leader that the cluster knows. That it cannot be asked just now means only that the step goes on waiting.
async fn led(options: &ClientOptions) -> Option<(u64, StatusResponse)> {
    let status = cluster_status(options).await.ok()?;
    status.leader.map(|leader| (leader, status))
}

/// The log index that all nodes have applied, once it is the same and all are up.
fn level(status: &StatusResponse) -> Option<u64> {
    let first = status.nodes.first()?.applied;
    status.nodes.iter().all(|node| node.up && node.applied == first).then_some(first)
}

fn expect_holder(lock: &LockInfo, owner: &str, token: Token) -> Result<(), Failure> {
    match lock.holders.as_slice() {
        [holder] if holder.owner == owner && holder.token == token.0 => Ok(()),
        other => Err(Failure::internal(format!("{owner} should hold it under token {token}, but: {other:?}"))),
    }
}
