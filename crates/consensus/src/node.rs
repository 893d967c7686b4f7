//! The handle that the frontend holds.

use std::sync::Arc;
use std::time::Duration;

use leasehold_state_machine::{Event, LogTime, Operation, Outcome, StateMachine};
use parking_lot::RwLockReadGuard;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::{ClusterStatus, NodeOptions, OptionsError, Readiness};

/// Hears of everything that this node applies, in order, from the apply task: must be quick and never block.
pub trait ApplyObserver: Send + Sync + 'static {
    /// One entry was applied. `state` is the state right after it.
    fn applied(&self, events: &[Event], state: &StateMachine);
    /// A snapshot was installed: events were skipped. Every registered request is to be looked up in `state`.
    fn reset(&self, state: &StateMachine);
}

/// One node of the group. Cheap to clone; the node stops with [`Node::shutdown`].
#[derive(Clone)]
pub struct Node {}

/// A command came to nothing that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// No leader could be reached in time. The command has had and will have no effect.
    #[error("no leader; nothing was done")]
    NoLeader {
        /// When to try again.
        retry_after: Duration,
    },
    /// Too many commands wait already. The command has had and will have no effect.
    #[error("this node has {pending} commands pending, its limit; nothing was done")]
    Busy {
        /// Pending commands.
        pending: usize,
    },
    /// The command was sent and no outcome came back in time: it may have happened, or happen yet. The same request may
    /// be sent again anywhere.
    #[error("no outcome within the deadline; it may have happened")]
    FateUnknown,
    /// The command is larger than a log entry may be.
    #[error("the request is {bytes} bytes long, at most {max} are allowed")]
    TooLarge {
        /// Encoded size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopping,
}

/// A linearizable read could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader confirmed a read index in time.
    #[error("no leader confirmed the read in time")]
    NoLeader {
        /// When to try again.
        retry_after: Duration,
    },
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopping,
}

/// Why a node does not start. The text names the file or the option and the way out.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A bad option.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The data folder cannot be used.
    #[error("{0}")]
    Data(String),
    /// The cluster knows this node id by another data folder.
    #[error("{0}")]
    Identity(String),
    /// openraft refused to start.
    #[error("raft does not start: {0}")]
    Raft(String),
}

/// Why a node stopped by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// [`Node::shutdown`].
    Shutdown,
    /// Storage failed (a failed fsync stops the node), or raft panicked.
    Fatal(String),
    /// The cluster knows this node id by another data folder.
    Identity(String),
}

#[allow(unused_variables, clippy::todo, clippy::unused_async)]
impl Node {
    /// Starts a node on an already bound peer listener and returns once it takes part (not: once there is a leader).
    pub async fn start(
        options: NodeOptions,
        peer_listener: TcpListener,
        observer: Arc<dyn ApplyObserver>,
    ) -> Result<Self, StartError> {
        todo!()
    }

    /// This node's id.
    #[must_use]
    pub fn id(&self) -> u64 {
        todo!()
    }

    /// Submits one operation and waits for its outcome, not longer than `deadline`. On a follower it is forwarded to the
    /// leader; without a leader it is held for a bounded time. Dropping the future does not undo the operation.
    pub async fn submit(&self, operation: Operation, deadline: Instant) -> Result<Outcome, SubmitError> {
        todo!()
    }

    /// Returns once this node's applied state includes everything that was acknowledged before the call: a following
    /// read of [`Node::state`] is linearizable.
    pub async fn read_barrier(&self, deadline: Instant) -> Result<(), ReadError> {
        todo!()
    }

    /// The applied state. Hold the guard shortly and never across an await: apply waits for it.
    #[must_use]
    pub fn state(&self) -> RwLockReadGuard<'_, StateMachine> {
        todo!()
    }

    /// The leader this node knows, or None since some time: waits end when that lasts too long.
    #[must_use]
    pub fn leader(&self) -> watch::Receiver<Option<u64>> {
        todo!()
    }

    /// Log time of the applied state.
    #[must_use]
    pub fn now(&self) -> LogTime {
        todo!()
    }

    /// Whether this node takes calls.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        todo!()
    }

    /// Asks all members, within a short bound.
    pub async fn status(&self) -> ClusterStatus {
        todo!()
    }

    /// Resolves when the node has stopped, by itself or by [`Node::shutdown`].
    pub async fn stopped(&self) -> StopReason {
        todo!()
    }

    /// Stops taking calls, checkpoints, closes the log. Bounded.
    pub async fn shutdown(&self) {
        todo!()
    }
}
