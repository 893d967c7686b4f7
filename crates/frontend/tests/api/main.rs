//! The frontend over real sockets, with a real node of a cluster of one behind it.

mod bad_input;
mod calls;
mod connect;
mod health;
mod no_leader;
mod server;
mod waits;
