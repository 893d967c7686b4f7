//! The handle that the frontend holds, and how the parts of a node are put together.

mod submit;

pub use self::submit::Submitted;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use leasehold_failpoints::failpoint;
use leasehold_platform::net::Listener;
use leasehold_state_machine::{Event, LogTime, Operation, Outcome, SetLevel, StateMachine};
use openraft::async_runtime::WatchReceiver as _;
use parking_lot::{Mutex, RwLockReadGuard};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::applier::{Applier, Snapshots};
use crate::checkpointer::Checkpointer;
use crate::clock::deadline_after;
use crate::divergence::{Comparisons, Detector, marker};
use crate::errors::{ReadError, StartError, StopReason};
use crate::formation::Formation;
use crate::forward::Forwarder;
use crate::identity::IdentityFile;
use crate::leader_loss::{LeaderLoss, Watch};
use crate::leadership::Leadership;
use crate::log_store::LogStore;
use crate::network::Network;
use crate::peer_server::PeerService;
use crate::proposer::{Proposer, ProposerHandle};
use crate::read_index::ReadIndex;
use crate::recovery::{DataDir, recover};
use crate::runtime::{spawn, spawn_blocking};
use crate::shared::Shared;
use crate::transport::Transport;
use crate::types::{Member, Raft};
use crate::{ClusterStatus, NodeOptions, RaiseLevelError, RaisedLevel, Readiness, raft_config, raise_level, status};

/// Between two tries to reach a leader.
const RETRY: Duration = Duration::from_millis(20);
/// A node whose apply is further behind what it knows to be committed takes no calls.
const APPLY_LAG_MAX: u64 = 5_000;
/// Bound on each step of a shutdown.
const SHUTDOWN_STEP_MAX: Duration = Duration::from_secs(5);

/// Hears of everything that this node applies, in order, from the apply task: must be quick and never block.
pub trait ApplyObserver: Send + Sync + 'static {
    /// One entry was applied. `state` is the state right after it; the events are shared, so that keeping them is cheap.
    fn applied(&self, events: Arc<[Event]>, state: &StateMachine);
    /// The state that comes before the next events: once at the start, with what was recovered, and whenever a snapshot was
    /// installed. Events were skipped; every registered request is to be looked up in `state`.
    fn reset(&self, state: &StateMachine);
}

/// One node of the group. Cheap to clone; the node stops with [`Node::shutdown`].
#[derive(Clone)]
pub struct Node {
    parts: Arc<Parts>,
}

struct Parts {
    options: NodeOptions,
    raft: Raft,
    shared: Arc<Shared>,
    identity: Arc<IdentityFile>,
    transport: Arc<Transport>,
    leadership: Arc<Leadership>,
    proposer: ProposerHandle,
    forwarder: Forwarder,
    read_index: ReadIndex,
    checkpointer: Arc<Checkpointer>,
    log: LogStore,
    comparisons: Arc<Mutex<Comparisons>>,
    stop: CancellationToken,
    stopped: watch::Sender<Option<StopReason>>,
    /// Tasks that use the data folder: awaited at the end.
    tasks: Mutex<Vec<JoinHandle<()>>>,
    _data_dir: DataDir,
}

impl Node {
    /// Starts a node on an already bound peer listener and returns once it takes part (not: once there is a leader).
    pub async fn start(
        options: NodeOptions,
        peer_listener: impl Into<Listener>,
        observer: Arc<dyn ApplyObserver>,
    ) -> Result<Self, StartError> {
        options.validate()?;
        let data_dir = DataDir::lock(&options.data_dir)?;
        marker::check(&options.data_dir)?;
        let identity = Arc::new(IdentityFile::open(&options.data_dir, options.node_id)?);
        let found = recover(&data_dir, options.media.clone(), options.level_max).await?;
        let tuning = &options.tuning;
        let clock = options.clock.clone();
        let shared = Shared::new(clock, found.state, tuning.drift_max_ppm, options.level_max, observer);
        let checkpointer = Checkpointer::new(Arc::clone(&shared), found.checkpoint);
        let snapshots = Arc::new(Snapshots { dir: data_dir.snapshots(), newest: Mutex::new(found.snapshot) });
        let applier =
            Applier::new(options.node_id, Arc::clone(&shared), Arc::clone(&checkpointer), Arc::clone(&snapshots));
        let transport = Transport::new(Arc::clone(&identity), options.dialer.clone());
        let network = Network::new(Arc::clone(&transport));
        let log = found.log;
        let config = raft_config::config(tuning)?;
        let raft = Raft::new(options.node_id, config, network, log.clone(), applier).await.map_err(|error| {
            // It applies again what the log has after the checkpoint.
            let above = shared.level.refused().map(|refused| StartError::Level(refused.to_string()));
            above.unwrap_or_else(|| StartError::Raft(error.to_string()))
        })?;
        let stop = CancellationToken::new();
        let leadership = Leadership::start(raft.clone(), Arc::clone(&shared), tuning.election_max, stop.clone());
        let proposer = Proposer::start(raft.clone(), Arc::clone(&shared), Arc::clone(&identity), stop.clone());
        let read_index = ReadIndex::start(
            raft.clone(),
            Arc::clone(&shared),
            Arc::clone(&leadership),
            Arc::clone(&transport),
            stop.clone(),
        );
        let parts = Arc::new(Parts {
            forwarder: Forwarder::new(Arc::clone(&transport)),
            raft,
            shared,
            identity,
            transport,
            leadership,
            proposer,
            read_index,
            checkpointer,
            log,
            comparisons: Arc::default(),
            stop,
            stopped: watch::Sender::new(None),
            tasks: Mutex::default(),
            _data_dir: data_dir,
            options,
        });
        parts.serve_peers(peer_listener.into(), snapshots);
        parts.watch_over();
        Ok(Self { parts })
    }

    /// This node's id.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.parts.options.node_id
    }

    /// Log index of the last entry that this node has applied.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.parts.shared.applied.subscribe()
    }

    /// Returns once this node's applied state includes everything that was acknowledged before the call: a following
    /// read of [`Node::state`] is linearizable. Tells the leader's clock as it was after the call began, where the leader tells it: what
    /// was due by then may still be held only until the next entry.
    pub async fn read_barrier(&self, deadline: Instant) -> Result<Option<LogTime>, ReadError> {
        let parts = &self.parts;
        let deadline = deadline.min(deadline_after(parts.options.tuning.leader_wait_max));
        let barrier = async {
            loop {
                if let Some(point) = parts.read_index.get().await {
                    let mut applied = parts.shared.applied.subscribe();
                    // The sender lives as long as `shared`.
                    let _ = applied.wait_for(|applied| *applied >= point.index).await;
                    return point.clock;
                }
                tokio::time::sleep(RETRY).await;
            }
        };
        tokio::select! {
            reached = tokio::time::timeout_at(deadline, barrier) => {
                reached.map_err(|_| ReadError::NoLeader { retry_after: parts.options.tuning.election_max })
            }
            () = parts.stop.cancelled() => Err(ReadError::Stopping),
        }
    }

    /// The applied state. Hold the guard shortly and never across an await: apply waits for it.
    pub fn state(&self) -> RwLockReadGuard<'_, StateMachine> {
        self.parts.shared.state.read()
    }

    /// The leader this node is in contact with, None without one: waits end when that lasts too long.
    #[must_use]
    pub fn leader(&self) -> watch::Receiver<Option<u64>> {
        self.parts.leadership.known()
    }

    /// Log time of the applied state.
    #[must_use]
    pub fn now(&self) -> LogTime {
        self.parts.shared.now()
    }

    /// Log time that this node dropped while it led, because something held the log up.
    #[must_use]
    pub fn log_time_dropped(&self) -> Duration {
        self.parts.shared.leader_clock.lock().dropped()
    }

    /// How this node's state hash compares with the members'.
    #[must_use]
    pub fn comparisons(&self) -> Comparisons {
        self.parts.comparisons.lock().clone()
    }

    /// Whether this node takes calls.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        if self.parts.stop.is_cancelled() {
            return Readiness::NotReady("stopping".into());
        }
        if self.parts.leadership.known().borrow().is_none() {
            return Readiness::NotReady("no leader is known".into());
        }
        if self.parts.shared.state.read().cluster().is_none() {
            return Readiness::NotReady("the cluster is not founded yet".into());
        }
        let lag = self.parts.apply_lag();
        if lag > APPLY_LAG_MAX {
            return Readiness::NotReady(format!("apply is {lag} entries behind, at most {APPLY_LAG_MAX} are allowed"));
        }
        Readiness::Ready
    }

    /// Asks all members, within a short bound.
    pub async fn status(&self) -> ClusterStatus {
        let parts = &self.parts;
        let (cluster, log_time, level) = {
            let state = parts.shared.state.read();
            (state.cluster(), state.now(), state.level())
        };
        let leader = *parts.leadership.known().borrow();
        ClusterStatus {
            cluster,
            node_id: self.id(),
            leader,
            term: parts.leadership.term(),
            log_time,
            level,
            nodes: parts.ask_members().await,
        }
    }

    /// Raises the format level to the highest that every member supports, or to `level`. Every member is asked first, within a
    /// short bound: one that is silent might not be able to follow.
    pub async fn raise_level(&self, level: Option<u32>, deadline: Instant) -> Result<RaisedLevel, RaiseLevelError> {
        // What this node has applied may lag behind.
        self.read_barrier(deadline).await?;
        let before = self.parts.shared.level_in_force();
        let target = raise_level::target(level, before, &self.parts.ask_members().await)?;
        if target == before {
            return Ok(RaisedLevel { level: target, before });
        }
        match self.submit(Operation::SetLevel(SetLevel { level: target }), deadline).await? {
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => Ok(RaisedLevel { level: target, before }),
        }
    }

    /// Resolves when the node has stopped, by itself or by [`Node::shutdown`].
    pub async fn stopped(&self) -> StopReason {
        let mut stopped = self.parts.stopped.subscribe();
        match stopped.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or(StopReason::Shutdown),
            Err(_) => StopReason::Shutdown,
        }
    }

    /// Stops taking calls, checkpoints, closes the log. Bounded. The data folder is free for another start once every clone of this
    /// node is dropped.
    pub async fn shutdown(&self) {
        let parts = &self.parts;
        parts.stop.cancel();
        let raft = tokio::time::timeout(SHUTDOWN_STEP_MAX, parts.raft.shutdown()).await;
        if raft.is_err() {
            tracing::warn!("raft did not stop in time");
        }
        failpoint!("stop::checkpoint::before", pass);
        match tokio::time::timeout(SHUTDOWN_STEP_MAX, parts.checkpointer.finish()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "no last checkpoint; the log has it all"),
            Err(_) => tracing::warn!("the last checkpoint took too long; the log has it all"),
        }
        failpoint!("stop::log::before", pass);
        if !matches!(tokio::time::timeout(SHUTDOWN_STEP_MAX, parts.log.close()).await, Ok(Ok(()))) {
            tracing::warn!("the log could not be synced at the end");
        }
        failpoint!("stop::log::after", pass);
        parts.stop_with(StopReason::Shutdown);
        let tasks = std::mem::take(&mut *parts.tasks.lock());
        if tokio::time::timeout(SHUTDOWN_STEP_MAX, join_all(tasks)).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
    }
}

impl Parts {
    /// What all members say of themselves, within a short bound.
    async fn ask_members(&self) -> Vec<status::NodeState> {
        let members: Vec<(u64, Member)> = {
            let metrics = self.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            metrics.membership_config.membership().nodes().map(|(id, member)| (*id, member.clone())).collect()
        };
        let own = status::NodeState {
            id: self.options.node_id,
            address: self.options.client_address.clone(),
            peer_address: self.options.peer_address.clone(),
            role: self.leadership.role(),
            applied: *self.shared.applied.borrow(),
            level_max: self.options.level_max,
            agreement: None,
            up: true,
        };
        let mut states = status::ask_members(&self.transport, own, members).await;
        let comparisons = self.comparisons.lock();
        for state in states.iter_mut().filter(|state| state.id != self.options.node_id) {
            state.agreement = comparisons.members.get(&state.id).copied();
        }
        states
    }

    fn apply_lag(&self) -> u64 {
        let metrics = self.raft.data_metrics();
        let committed = metrics.borrow_watched().cluster_committed.map_or(0, |id| id.index);
        committed.saturating_sub(*self.shared.applied.borrow())
    }

    fn stop_with(&self, reason: StopReason) {
        self.stop.cancel();
        self.stopped.send_if_modified(|stopped| {
            let first = stopped.is_none();
            stopped.get_or_insert(reason);
            first
        });
    }

    /// Compares this node's tables with its peers', and stops it when they are not the cluster's.
    fn compare_states(self: &Arc<Self>) -> JoinHandle<()> {
        let (raft, shared) = (self.raft.clone(), Arc::clone(&self.shared));
        let detector = Detector::new(raft, shared, Arc::clone(&self.transport), Arc::clone(&self.comparisons));
        let parts = Arc::clone(self);
        spawn(async move {
            let Some(why) = detector.run(parts.stop.clone()).await else { return };
            tracing::error!(node_id = parts.options.node_id, "{why}");
            // Nothing is answered from here on; the process may end once it is told why, so the mark comes before that.
            parts.stop.cancel();
            let (data_dir, text) = (parts.options.data_dir.clone(), why.clone());
            match spawn_blocking(move || marker::leave(&data_dir, &text)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "the data folder cannot be marked: do not start on it again"),
                Err(error) => tracing::error!(%error, "the data folder was not marked: do not start on it again"),
            }
            parts.stop_with(StopReason::Diverged(why));
        })
    }

    fn serve_peers(self: &Arc<Self>, listener: Listener, snapshots: Arc<Snapshots>) {
        let watch = Watch {
            raft: self.raft.clone(),
            leadership: Arc::clone(&self.leadership),
            shared: Arc::clone(&self.shared),
            dialer: self.options.dialer.clone(),
            heartbeat: self.options.tuning.heartbeat,
        };
        let service = PeerService {
            raft: self.raft.clone(),
            shared: Arc::clone(&self.shared),
            identity: Arc::clone(&self.identity),
            leadership: Arc::clone(&self.leadership),
            leader_loss: LeaderLoss::start(watch, self.stop.clone()),
            proposer: self.proposer.clone(),
            snapshots,
            receiving: Arc::default(),
            client_address: self.options.client_address.clone(),
            stop: self.stop.clone(),
        };
        let parts = Arc::downgrade(self);
        spawn(async move {
            if let Err(error) = service.serve(listener).await
                && let Some(parts) = parts.upgrade()
            {
                parts.stop_with(StopReason::Fatal(format!("the peer server ended: {error}")));
            }
        });
    }

    /// Forms or finds the cluster, checkpoints, and notices when raft has stopped.
    fn watch_over(self: &Arc<Self>) {
        let parts = Arc::clone(self);
        let fatal = move |error| parts.stop_with(StopReason::Fatal(error));
        let checkpoints = self.checkpointer.run(self.options.tuning.checkpoint_interval, self.stop.clone(), fatal);

        let formation = Formation {
            raft: self.raft.clone(),
            identity: Arc::clone(&self.identity),
            transport: Arc::clone(&self.transport),
            options: self.options.clone(),
        };
        let parts = Arc::clone(self);
        let forming = spawn(async move {
            if let Some(reason) = formation.run(parts.stop.clone()).await {
                parts.stop_with(reason);
            }
        });

        let parts = Arc::clone(self);
        let watching = spawn(async move {
            let mut metrics = parts.raft.metrics();
            loop {
                let failed = metrics.borrow_and_update().running_state.as_ref().err().map(ToString::to_string);
                if parts.stop.is_cancelled() {
                    return;
                }
                if let Some(error) = failed {
                    let above = parts.shared.level.refused().map(|refused| StopReason::Level(refused.to_string()));
                    return parts
                        .stop_with(above.unwrap_or_else(|| StopReason::Fatal(format!("raft has stopped: {error}"))));
                }
                tokio::select! {
                    biased;
                    () = parts.stop.cancelled() => return,
                    changed = metrics.changed() => if changed.is_err() {
                        return parts.stop_with(StopReason::Fatal("raft has stopped".into()));
                    },
                }
            }
        });
        self.tasks.lock().extend([checkpoints, forming, watching, self.compare_states()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_send<T: Send>(_: T) {}

    /// Servers move these futures between threads.
    #[expect(dead_code, reason = "it is enough that this compiles")]
    fn futures_of_a_node_are_send(node: &Node, operation: Operation, at: Instant) {
        assert_send(node.submit(operation, at));
        assert_send(node.read_barrier(at));
        assert_send(node.status());
        assert_send(node.raise_level(None, at));
        assert_send(node.stopped());
        assert_send(node.shutdown());
    }
}
