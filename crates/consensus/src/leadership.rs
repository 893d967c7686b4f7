//! Which leader this node knows, and whether it is in contact with it.

use std::sync::Arc;
use std::time::Duration;

use openraft::Instant as _;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::Role;
use crate::runtime::spawn;
use crate::shared::Shared;
use crate::types::{Member, Raft};

/// How often the age of the last contact is looked at.
const CONTACT_CHECK: Duration = Duration::from_millis(100);

/// The leader as this node knows it.
pub(crate) struct Leadership {
    raft: Raft,
    shared: Arc<Shared>,
    /// Without contact for this long, no leader counts as known.
    contact_max: Duration,
    known: watch::Sender<Option<u64>>,
}

impl Leadership {
    pub(crate) fn start(raft: Raft, shared: Arc<Shared>, election_max: Duration, stop: CancellationToken) -> Arc<Self> {
        let contact_max = election_max * 2;
        let this = Arc::new(Self { raft, shared, contact_max, known: watch::Sender::new(None) });
        let watcher = Arc::clone(&this);
        spawn(async move {
            let mut changes = watcher.raft.server_metrics();
            while !stop.is_cancelled() {
                watcher.refresh();
                tokio::select! {
                    () = stop.cancelled() => {}
                    changed = changes.changed() => if changed.is_err() { break },
                    () = tokio::time::sleep(CONTACT_CHECK) => {}
                }
            }
            watcher.known.send_replace(None);
        });
        this
    }

    fn refresh(&self) {
        let leader = self.in_contact().then(|| self.target().map(|(leader, _)| leader)).flatten();
        self.known.send_if_modified(|known| {
            let changed = *known != leader;
            if changed {
                tracing::info!(leader, before = *known, "leader known to this node changed");
            }
            *known = leader;
            changed
        });
    }

    /// A leader that has heard from a quorum, or a follower that has heard from its leader, not long ago.
    fn in_contact(&self) -> bool {
        if let Ok(leader) = self.raft.as_leader() {
            // Nobody else acknowledges anything to a quorum of one: its last acknowledgement ages while it is idle.
            if self.is_only_voter() {
                return true;
            }
            return leader.last_quorum_acked().is_none_or(|acked| acked.elapsed() <= self.contact_max);
        }
        self.shared.since_leader_contact().is_some_and(|age| age <= self.contact_max)
    }

    fn is_only_voter(&self) -> bool {
        let metrics = self.raft.server_metrics();
        metrics.borrow_watched().membership_config.membership().voter_ids().count() == 1
    }

    /// The leader this node knows while it is in contact with it.
    pub(crate) fn known(&self) -> watch::Receiver<Option<u64>> {
        self.known.subscribe()
    }

    /// Where commands go: the leader by raft's word, and what the membership says of it.
    pub(crate) fn target(&self) -> Option<(u64, Member)> {
        self.with_target(|leader, member| (leader, member.clone()))
    }

    /// The same without a copy.
    pub(crate) fn with_target<T>(&self, use_it: impl FnOnce(u64, &Member) -> T) -> Option<T> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader?;
        let member = metrics.membership_config.membership().get_node(&leader)?;
        Some(use_it(leader, member))
    }

    pub(crate) fn term(&self) -> u64 {
        self.raft.server_metrics().borrow_watched().vote.leader_id.term
    }

    pub(crate) fn role(&self) -> Role {
        match self.raft.server_metrics().borrow_watched().state {
            ServerState::Leader => Role::Leader,
            ServerState::Candidate => Role::Candidate,
            ServerState::Follower => Role::Follower,
            ServerState::Learner | ServerState::Shutdown => Role::Learner,
        }
    }
}
