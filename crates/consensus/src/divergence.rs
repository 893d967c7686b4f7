//! Notices when this node's tables are not those of its cluster (DESIGN section 6).
//!
//! The applier records the state hash after every 64th log entry. Every two seconds a node asks all members for theirs, and for the
//! hash after the last entry that they have applied, so that an idle cluster is compared too. A node whose hash
//! differs from a majority of the voters' stops, leaves a mark in its data folder, and does not start on it again. Where
//! no majority can be named, all stop: then there is no service, but never two holders.
//!
//! It cannot see what is the same everywhere: a fault of `apply` itself, or tables that came with a snapshot of a node that had
//! diverged before. It sees a row that changed in memory by itself only once that row is written again or read from a
//! checkpoint, because the hash is kept up row by row.

mod judgement;
pub(crate) mod marker;
mod positions;
mod suspicion;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use leasehold_proto::peer as pb;
use openraft::async_runtime::WatchReceiver as _;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use self::judgement::{Comparison, compare};
pub(crate) use self::positions::Positions;
use self::suspicion::{Hashes, Suspicion, Verdict};
use crate::shared::Shared;
use crate::transport::{Purpose, Transport};
use crate::types::{Member, Raft};

/// Between two comparisons.
const ROUND: Duration = Duration::from_secs(2);
/// A member that does not answer within this is asked again in the next round.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);

/// How the comparisons with one member went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Agreement {
    /// The highest log index after which both had the same state hash.
    pub agreed: Option<u64>,
    /// The log index after which they differed, when they did last.
    pub differs: Option<u64>,
}

/// What this node has compared since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparisons {
    /// State hashes of members that were compared with this node's.
    pub compared: u64,
    /// Those that differed.
    pub differing: u64,
    /// By member.
    pub members: BTreeMap<u64, Agreement>,
}

impl Comparisons {
    fn note(&mut self, member: u64, comparison: Comparison) {
        self.compared += comparison.compared;
        self.differing += u64::from(comparison.differs.is_some());
        let agreement = self.members.entry(member).or_default();
        agreement.agreed = agreement.agreed.max(comparison.agreed);
        if comparison.compared > 0 {
            agreement.differs = comparison.differs;
        }
    }
}

/// Compares this node with the members of its cluster.
pub(crate) struct Detector {
    own: u64,
    raft: Raft,
    shared: Arc<Shared>,
    transport: Arc<Transport>,
    comparisons: Arc<Mutex<Comparisons>>,
    suspicion: Option<Suspicion>,
}

impl Detector {
    pub(crate) fn new(
        raft: Raft,
        shared: Arc<Shared>,
        transport: Arc<Transport>,
        comparisons: Arc<Mutex<Comparisons>>,
    ) -> Self {
        Self { own: *raft.node_id(), raft, shared, transport, comparisons, suspicion: None }
    }

    /// Compares until stopped (None), or until this node must not serve any more, and why.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Option<String> {
        loop {
            stop.run_until_cancelled(tokio::time::sleep(ROUND)).await?;
            if let Some(why) = stop.run_until_cancelled(self.round()).await? {
                return Some(why);
            }
        }
    }

    async fn round(&mut self) -> Option<String> {
        let (members, voters) = self.members();
        self.comparisons.lock().members.retain(|member, _| members.contains_key(member));
        let answers = self.ask_all(&members).await;
        let own = self.own_hashes();
        self.compare_all(&own, &answers);
        let index = self.suspicion.as_ref()?.index();
        let mut said = self.ask_about(index, &members).await;
        said.insert(self.own, own.into_iter().filter(|(known, _)| *known >= index).collect());
        match self.suspicion.as_mut()?.decide(self.own, &voters, &said) {
            Verdict::Wait => None,
            Verdict::GoOn => {
                // Those that differ find the same, and stop.
                self.suspicion = None;
                None
            }
            Verdict::Stop(why) => Some(why),
        }
    }

    /// Members but this one, and the ids of all voters.
    fn members(&self) -> (BTreeMap<u64, Member>, BTreeSet<u64>) {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let others = membership.nodes().filter(|(id, _)| **id != self.own);
        (others.map(|(id, member)| (*id, member.clone())).collect(), membership.voter_ids().collect())
    }

    /// All positions of this node, and the one where it stands.
    fn own_hashes(&self) -> Hashes {
        // In this order: positions are recorded while the tables are locked.
        let current = self.shared.current_hash();
        let mut hashes = self.shared.positions.lock().all();
        hashes.extend(current);
        hashes
    }

    /// What every member says of the positions that it was not yet compared at.
    async fn ask_all(&self, members: &BTreeMap<u64, Member>) -> BTreeMap<u64, Hashes> {
        // What this node does not know itself would only fill the answer.
        let first = self.shared.positions.lock().first().unwrap_or(0).saturating_sub(1);
        let agreed: BTreeMap<u64, Option<u64>> = {
            let comparisons = self.comparisons.lock();
            comparisons.members.iter().map(|(member, agreement)| (*member, agreement.agreed)).collect()
        };
        let after = |member: &u64| agreed.get(member).copied().flatten().unwrap_or(0).max(first);
        let asked = members.iter().map(|(id, member)| async { (*id, self.ask(*id, member, after(id)).await) });
        join_all(asked).await.into_iter().filter_map(|(id, hashes)| Some((id, hashes?))).collect()
    }

    /// The hashes of every member from one entry on.
    async fn ask_about(&self, index: u64, members: &BTreeMap<u64, Member>) -> BTreeMap<u64, Hashes> {
        let asked = members.iter().map(|(id, member)| async {
            let hashes = self.ask(*id, member, index.saturating_sub(1)).await?;
            Some((*id, hashes))
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    async fn ask(&self, id: u64, member: &Member, after: u64) -> Option<Hashes> {
        let mut client = self.transport.client(&member.peer_address, Purpose::Control).ok()?;
        let request = self.transport.request(id, member, pb::StateHashesRequest { after });
        // One that is silent, older, or somebody else's is not compared.
        let answer = tokio::time::timeout(ASK_TIMEOUT, client.state_hashes(request)).await.ok()?.ok()?;
        Some(from_pb(answer.into_inner()))
    }

    fn compare_all(&mut self, own: &Hashes, answers: &BTreeMap<u64, Hashes>) {
        let mut comparisons = self.comparisons.lock();
        let mut lowest: Option<u64> = None;
        for (member, theirs) in answers {
            let before = comparisons.members.get(member).and_then(|agreement| agreement.differs);
            let comparison = compare(own, theirs);
            comparisons.note(*member, comparison);
            if let Some(index) = comparison.differs {
                if before != Some(index) {
                    tracing::error!(node_id = self.own, member, log_index = index, "the tables of two nodes differ");
                }
                lowest = Some(lowest.map_or(index, |lowest| lowest.min(index)));
            }
        }
        if let Some(index) = lowest
            && self.suspicion.is_none()
        {
            let said = answers.iter().filter_map(|(member, hashes)| Some((*member, *hashes.get(&index)?)));
            let own = own.get(&index).map(|hash| (self.own, *hash));
            self.suspicion = Some(Suspicion::new(index, said.chain(own).collect()));
        }
    }
}

/// The hashes that a peer told, in bounds.
pub(crate) fn from_pb(answer: pb::StateHashesResponse) -> Hashes {
    let hashes = answer.hashes.into_iter().take(positions::PER_ANSWER_MAX + 1);
    hashes.map(|hash| (hash.index, u128::from(hash.high) << 64 | u128::from(hash.low))).collect()
}

/// What this node tells of its positions behind an entry, and of the one where it stands.
pub(crate) fn answer(shared: &Shared, after: u64) -> pb::StateHashesResponse {
    let current = shared.current_hash();
    let positions = shared.positions.lock().after(after);
    let hashes: Hashes = positions.into_iter().chain(current).collect();
    let to_pb = |(index, hash): (u64, u128)| pb::StateHash { index, high: (hash >> 64) as u64, low: hash as u64 };
    pb::StateHashesResponse { hashes: hashes.into_iter().map(to_pb).collect() }
}
