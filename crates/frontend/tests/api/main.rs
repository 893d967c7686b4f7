//! The frontend over real sockets, with a real node of a cluster of one behind it.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod bad_input;
mod calls;
mod connect;
mod health;
mod no_leader;
mod server;
mod waits;
