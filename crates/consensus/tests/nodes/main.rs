//! Whole nodes in one process, over real sockets and files.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod cluster;
mod divergence;
mod expiry;
mod identity;
mod levels;
mod peers;
mod reads;
mod recovery;
