//! An exhaustive check of small worlds over the real lock table.
//!
//! A [`World`] has up to three clients and two locks. Its states are the real [`leasehold_state_machine::StateMachine`],
//! as rows, with what the clients know and all messages that were ever sent: each may arrive at any time, any number of
//! times, in any order, or never. Clients may stop, calls may break, time moves in steps. [`check`] goes through every
//! state that can be reached and holds it against the rules of [`Rule`], which are said anew here and know nothing of
//! the machine's inside.
//!
//! A client is as honest as the contract asks. It counts a lease from its send, listens to its last call only, looks which
//! grants it has when it is told of losses by force, and does not come back to an id that it has said nothing about for
//! longer than a call may take.
//!
//! States that differ only in names that nobody has heard of yet are one. Which of them is met first is up to the threads,
//! so the numbers of two runs may differ by a few in ten thousand.
//!
//! `cargo run --release -p leasehold-testkit --bin model-check` goes through all worlds; the smaller ones are in
//! `cargo test -p leasehold-testkit --test model_check`.

mod action;
mod answers;
mod arrival;
mod checker;
mod client;
mod coverage;
mod deadlocks;
mod essence;
mod events;
mod liveness;
mod message;
mod modes;
mod narrate;
mod picture;
mod planted;
mod rule;
mod rules;
mod run;
mod state;
mod step;
mod tables;
mod world;
pub mod worlds;

pub use checker::{Report, check};
pub use coverage::{Coverage, Seen};
pub use planted::Planted;
pub use rule::{Flaw, Rule};
pub use world::{
    A, Ask, AskLease, B, ClientPlan, EXCLUSIVE, LOCKS, Lock, SHARED, SessionPlan, TaskPlan, World, permits,
};
