//! The state machine against the reference model.
#![allow(clippy::unwrap_used, clippy::print_stdout, unreachable_pub)]

mod coverage;
mod draw;
mod golden;
mod invariants;
mod random_logs;
mod resolve;
mod run;
mod script;
mod steps;
