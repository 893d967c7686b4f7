//! One node of the Raft group: durable log, peer transport, proposer, log time, linearizable reads.
//!
//! [`Node`] is the cheap handle that the frontend holds. What it submits is batched into log entries by the leader's
//! proposer, replicated by openraft, and applied to the [`leasehold_state_machine::StateMachine`] of every node.

pub mod clock;
mod node;
mod options;
pub mod runtime;
mod status;

pub use node::{ApplyObserver, Node, ReadError, StartError, StopReason, SubmitError};
pub use options::{NodeOptions, OptionsError, Tuning};
pub use status::{ClusterStatus, NodeState, Readiness, Role};
