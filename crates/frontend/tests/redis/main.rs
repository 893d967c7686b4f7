//! The Redis door over real sockets, with a real node of a cluster of one behind it.
#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]

mod bounds;
mod broken;
mod handshake;
mod keys;
mod no_leader;
mod policies;
mod resp;
mod scripts;
#[path = "../api/server.rs"]
#[allow(dead_code, reason = "another suite uses the rest")]
mod server;
mod shapes;
mod wire;
