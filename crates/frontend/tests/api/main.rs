//! The frontend over real sockets, with a real node of a cluster of one behind it.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod bad_input;
mod calls;
mod connect;
mod converts;
mod dapr;
mod health;
mod levels;
mod modes;
mod no_leader;
mod server;
mod sessions;
mod stream;
mod tokens;
mod waits;
mod watch;
mod watch_stream;
