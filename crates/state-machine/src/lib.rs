//! The replicated lock table of Leasehold: a deterministic state machine, and its storage.
//!
//! [`StateMachine::apply`] is the only place where state changes. It has no clock, no randomness, no I/O; everything it
//! needs is in the entry. The same entries give the same tables, outcomes, events and state hash on every node.
//! The [`storage`] module keeps the last checkpoint in sled and writes snapshots. [`codec`] is the only module of
//! the workspace that turns our own types into bytes and back.

pub mod codec;
mod command;
mod event;
mod ids;
mod limits;
mod machine;
mod outcome;
pub mod storage;
mod view;

pub use command::*;
pub use event::*;
pub use ids::*;
pub use limits::*;
pub use machine::*;
pub use outcome::*;
pub use view::*;
