//! Linearizable reads: which log index must be applied before a read that begins now.
//!
//! Reads that arrive while a round is on its way share the next one; none joins a round that began before it.

use std::sync::Arc;
use std::time::Duration;

use leasehold_proto::peer as pb;
use leasehold_state_machine::LogTime;
use openraft::ReadPolicy;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::leadership::Leadership;
use crate::proposer::PENDING_MAX;
use crate::runtime::spawn;
use crate::shared::Shared;
use crate::transport::{Purpose, Transport};
use crate::types::Raft;

/// One round that takes longer has failed.
const ROUND_TIMEOUT: Duration = Duration::from_millis(500);

/// What a leader confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadPoint {
    /// What a read must have applied.
    pub(crate) index: u64,
    /// The leader's clock, as it would stamp an entry now; None where it does not run, or was not told.
    pub(crate) clock: Option<LogTime>,
}

/// Asks for read indexes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ReadIndex {
    waiting: mpsc::Sender<oneshot::Sender<Option<ReadPoint>>>,
}

impl ReadIndex {
    pub(crate) fn start(
        raft: Raft,
        shared: Arc<Shared>,
        leadership: Arc<Leadership>,
        transport: Arc<Transport>,
        stop: CancellationToken,
    ) -> Self {
        let (send, mut receive) = mpsc::channel(PENDING_MAX);
        spawn(async move {
            let mut round: Vec<oneshot::Sender<Option<ReadPoint>>> = Vec::new();
            while let Some(count) = stop.run_until_cancelled(receive.recv_many(&mut round, PENDING_MAX)).await {
                if count == 0 {
                    break;
                }
                let asked = tokio::time::timeout(ROUND_TIMEOUT, ask(&raft, &shared, &leadership, &transport)).await;
                let point = asked.ok().flatten();
                for waiting in round.drain(..) {
                    // A reader that went away does not want to know.
                    let _ = waiting.send(point);
                }
            }
        });
        Self { waiting: send }
    }

    /// What a read beginning now must have applied; None when no leader confirmed one.
    pub(crate) async fn get(&self) -> Option<ReadPoint> {
        let (send, receive) = oneshot::channel();
        self.waiting.try_send(send).ok()?;
        receive.await.ok().flatten()
    }
}

async fn ask(raft: &Raft, shared: &Shared, leadership: &Leadership, transport: &Transport) -> Option<ReadPoint> {
    let (leader, member) = leadership.target()?;
    if leader == *raft.node_id() {
        return confirm(raft, shared).await;
    }
    let mut client = transport.client(&member.peer_address, Purpose::Control).ok()?;
    let request = transport.request(leader, &member, pb::ReadIndexRequest {});
    let response = client.read_index(request).await.ok()?.into_inner();
    Some(ReadPoint { index: response.index?, clock: response.clock_ms.map(LogTime) })
}

/// A read index of this node as the leader: its leadership is confirmed by a quorum after this call began.
pub(crate) async fn confirm(raft: &Raft, shared: &Shared) -> Option<ReadPoint> {
    let linearizer = raft.get_read_linearizer(ReadPolicy::ReadIndex).await.ok()?;
    let pending = shared.earliest_deadline().is_some();
    let clock = shared.leader_clock.lock().stamp(shared.now(), shared.clock.monotonic(), pending).map(|(at, _)| at);
    Some(ReadPoint { index: linearizer.read_log_id().index(), clock })
}
