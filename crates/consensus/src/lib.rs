//! One node of the Raft group: durable log, peer transport, proposer, log time, linearizable reads.
//!
//! [`Node`] is the cheap handle that the frontend holds. What it submits is batched into log entries by the leader's
//! proposer, replicated by openraft, and applied to the [`leasehold_state_machine::StateMachine`] of every node.

mod append_exchange;
mod applier;
mod checkpointer;
pub mod clock;
mod convert;
#[cfg(feature = "counted")]
#[doc(hidden)]
pub mod counted;
pub mod debug;
mod divergence;
mod errors;
mod formation;
mod forward;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod identity;
mod leader_clock;
mod leader_loss;
mod leadership;
mod level;
mod log_store;
pub mod media;
mod network;
mod node;
mod options;
mod pace;
mod peer_server;
mod proposer;
mod raft_config;
mod raise_level;
mod read_index;
mod recovery;
pub mod runtime;
mod shared;
mod status;
#[cfg(test)]
mod storage_suite;
mod transport;
mod types;

pub use divergence::{Agreement, Comparisons};
pub use errors::{ReadError, StartError, StopReason, SubmitError};
pub use leasehold_state_machine::LEVEL_MAX;
pub use node::{ApplyObserver, Node, Submitted};
pub use options::{NodeOptions, OptionsError, Tuning};
pub use raise_level::{RaiseLevelError, RaisedLevel};
pub use status::{ClusterStatus, NodeState, Readiness, Role};
