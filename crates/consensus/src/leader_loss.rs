//! Notices early that the process of the leader has ended.
//!
//! A leader that falls silent keeps its lease, and then its followers wait for an election time-out: it may be slow, or paused. A process
//! that has ended leaves more than silence. Its host resets its connections, and refuses new ones. A follower whose stream from the
//! leader broke, or that has missed some heartbeats (a new leader may end before it has opened a stream), looks whether the leader's port
//! refuses. If it does, the follower gives the lease up at once and asks for a pre-vote. That is safe whatever really happened, because
//! nothing but the calm of elections rests on the lease: reads and answers ask a quorum, and a leader's clock starts anew. And it is calm:
//! a follower that has heard from the leader refuses the pre-vote, so a majority has to see the leader gone.
//!
//! Followers notice at the same moment. Two that campaign at once can split the votes, and then both wait for an election time-out after
//! all; so they take turns, in the order of their ids.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use leasehold_platform::net::Dialer;
use openraft::async_runtime::WatchReceiver as _;
use openraft::raft::TransferLeaderRequest;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

use crate::leadership::Leadership;
use crate::runtime::spawn;
use crate::shared::Shared;
use crate::types::{Raft, Vote};

/// A process that ends may still be seen to listen after its first connection broke.
const PROBES_MAX: u32 = 5;
const PROBE_PAUSE: Duration = Duration::from_millis(10);
const PROBE_MAX: Duration = Duration::from_millis(100);
/// Heartbeats that a leader may miss before somebody looks.
const SILENT_HEARTBEATS: u32 = 3;
/// What an election takes, with two votes synced, on a busy machine. Longer ones may meet the next follower's.
const TURN: Duration = Duration::from_millis(40);
/// When in its turn a follower campaigns: the others may notice a little later, and refuse until then, which costs nothing.
const CAMPAIGNS: [Duration; 2] = [Duration::from_millis(3), Duration::from_millis(15)];
/// After so many turns of each the election time-outs decide.
const ROUNDS_MAX: u32 = 6;

/// Told of broken streams, and watching for silence, it finds out whether the leader is gone.
pub(crate) struct LeaderLoss {
    broken: Notify,
}

impl LeaderLoss {
    pub(crate) fn start(watch: Watch, stop: CancellationToken) -> Arc<Self> {
        let this = Arc::new(Self { broken: Notify::new() });
        let told = Arc::clone(&this);
        spawn(async move {
            let watching = async {
                loop {
                    let probes_max = tokio::select! {
                        biased;
                        () = told.broken.notified() => PROBES_MAX,
                        () = watch.silence() => 1,
                    };
                    watch.look(probes_max).await;
                }
            };
            stop.run_until_cancelled(watching).await;
        });
        this
    }

    /// A stream from the leader broke.
    pub(crate) fn stream_broke(&self) {
        self.broken.notify_one();
    }
}

/// What a follower watches its leader with.
pub(crate) struct Watch {
    pub(crate) raft: Raft,
    pub(crate) leadership: Arc<Leadership>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) dialer: Dialer,
    pub(crate) heartbeat: Duration,
}

impl Watch {
    /// Waits until the leader has missed some heartbeats, and again as many for each time after.
    async fn silence(&self) {
        let long = self.heartbeat * SILENT_HEARTBEATS;
        let mut rest = long;
        while !rest.is_zero() {
            tokio::time::sleep(rest).await;
            rest = long.saturating_sub(self.shared.since_leader_contact().unwrap_or_default());
        }
    }

    /// Campaigns if the leader's host says that the leader does not listen any more.
    async fn look(&self, probes_max: u32) {
        let vote = vote(&self.raft);
        let Some((leader, member)) = self.leadership.target() else { return };
        if leader == *self.raft.node_id() || !vote.committed || vote.leader_id.node_id != leader {
            return;
        }
        if !is_refused(&self.dialer, &member.peer_address, probes_max).await || self::vote(&self.raft) != vote {
            return;
        }
        tracing::info!(leader, "the leader's process is gone");
        // What openraft takes the lease of a leader back with. It names no successor: nobody campaigns for it without a pre-vote.
        let lease = TransferLeaderRequest::new(vote, leader, None);
        if self.raft.handle_transfer_leader(lease).await.is_ok() {
            self.campaign(leader, vote).await;
        }
    }

    /// Until another vote has come about, this follower's or another's.
    async fn campaign(&self, gone: u64, vote: Vote) {
        let (place, followers) = self.turn(gone);
        let mut waited = Duration::ZERO;
        for round in 0..ROUNDS_MAX {
            for pause in CAMPAIGNS {
                let until = TURN * (round * followers + place) + pause;
                tokio::time::sleep(until - waited).await;
                waited = until;
                if self::vote(&self.raft) != vote || self.raft.trigger().elect(true).await.is_err() {
                    return;
                }
            }
        }
    }

    /// This node's place among the voters that are left, and how many they are.
    fn turn(&self, gone: u64) -> (u32, u32) {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let left = metrics.membership_config.membership().voter_ids().filter(|id| *id != gone);
        left.fold((0, 0), |(place, count), id| (place + u32::from(id < *self.raft.node_id()), count + 1))
    }
}

fn vote(raft: &Raft) -> Vote {
    raft.server_metrics().borrow_watched().vote
}

/// Whether the host answers that nobody listens there. Silence says nothing, and neither does a connection.
async fn is_refused(dialer: &Dialer, address: &str, probes_max: u32) -> bool {
    let Ok(endpoint) = Endpoint::from_shared(format!("http://{address}")) else { return false };
    let endpoint = endpoint.connect_timeout(PROBE_MAX);
    for _ in 0..probes_max {
        match dialer.connect(&endpoint).await {
            Err(error) if says_refused(&error) => return true,
            _ => tokio::time::sleep(PROBE_PAUSE).await,
        }
    }
    false
}

fn says_refused(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
