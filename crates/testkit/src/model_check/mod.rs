//! An exhaustive check of small worlds over the real lock table.
//!
//! A [`World`] has up to three clients and two locks. Its states are the real [`leasehold_state_machine::StateMachine`],
//! as rows, with what the clients know and all messages that were ever sent: each may arrive at any time, any number of
//! times, in any order, or never. Clients may stop, calls may break, time moves in steps. [`check`] goes through every
//! state that can be reached and holds it against the rules of [`Rule`], which are said anew here and know nothing of
//! the machine's inside.
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
