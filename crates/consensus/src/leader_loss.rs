//! Notices early that the process of the leader has ended.
//!
//! A leader that falls silent keeps its lease, and then its followers wait for an election time-out: it may be slow, or paused. A process
//! that has ended leaves more than silence. Its host resets its connections, and refuses new ones. A follower that sees both gives the
//! lease up at once and asks for a pre-vote. That is safe whatever really happened, because nothing but the calm of elections rests on
//! the lease: reads and answers ask a quorum, and a leader's clock starts anew. And it is calm: a follower that has heard from the leader
//! refuses the pre-vote, so a majority has to see the leader gone.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use leasehold_platform::net::Dialer;
use leasehold_platform::random;
use openraft::async_runtime::WatchReceiver as _;
use openraft::raft::TransferLeaderRequest;
use rand::Rng;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

use crate::leadership::Leadership;
use crate::runtime::spawn;
use crate::types::{Raft, Vote};

/// A process that ends may still be seen to listen after its first connection broke.
const PROBES_MAX: u32 = 5;
const PROBE_PAUSE: Duration = Duration::from_millis(10);
const PROBE_MAX: Duration = Duration::from_millis(100);
/// The other followers may notice a little later, and refuse until then.
const CAMPAIGNS_MAX: u32 = 8;
/// Before each campaign, drawn anew, so that followers that notice at once do not ask each other at once.
const CAMPAIGN_PAUSE_MS: std::ops::Range<u64> = 1..40;

/// Told of broken streams, it finds out whether the leader is gone.
pub(crate) struct LeaderLoss {
    broken: Notify,
}

impl LeaderLoss {
    pub(crate) fn start(raft: Raft, leadership: Arc<Leadership>, dialer: Dialer, stop: CancellationToken) -> Arc<Self> {
        let this = Arc::new(Self { broken: Notify::new() });
        let watcher = Arc::clone(&this);
        spawn(async move {
            while stop.run_until_cancelled(watcher.broken.notified()).await.is_some() {
                let looked = look(&raft, &leadership, &dialer);
                stop.run_until_cancelled(looked).await;
            }
        });
        this
    }

    /// A stream from the leader broke.
    pub(crate) fn stream_broke(&self) {
        self.broken.notify_one();
    }
}

/// Campaigns if the leader's host says that the leader does not listen any more.
async fn look(raft: &Raft, leadership: &Leadership, dialer: &Dialer) {
    let vote = vote(raft);
    let Some((leader, member)) = leadership.target() else { return };
    if leader == *raft.node_id() || !vote.committed || vote.leader_id.node_id != leader {
        return;
    }
    if !is_refused(dialer, &member.peer_address).await || self::vote(raft) != vote {
        return;
    }
    tracing::info!(leader, "the leader's process is gone");
    // What openraft takes the lease of a leader back with. It names no successor: nobody campaigns for it without a pre-vote.
    let lease = TransferLeaderRequest::new(vote, leader, None);
    if raft.handle_transfer_leader(lease).await.is_err() {
        return;
    }
    for _ in 0..CAMPAIGNS_MAX {
        let pause = random::rng().random_range(CAMPAIGN_PAUSE_MS);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        if self::vote(raft) != vote || raft.trigger().elect(true).await.is_err() {
            return;
        }
    }
}

fn vote(raft: &Raft) -> Vote {
    raft.server_metrics().borrow_watched().vote
}

/// Whether the host answers that nobody listens there. Silence says nothing, and neither does a connection.
async fn is_refused(dialer: &Dialer, address: &str) -> bool {
    let Ok(endpoint) = Endpoint::from_shared(format!("http://{address}")) else { return false };
    let endpoint = endpoint.connect_timeout(PROBE_MAX);
    for _ in 0..PROBES_MAX {
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
