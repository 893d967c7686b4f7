//! Published clients of other systems, run unchanged: their programs as child processes, the real server that they were
//! written for, and a connection that speaks its protocol.
//!
//! A bare machine has none of them: [`tools`] says what is there. `tests/clients/install` installs them.

mod program;
mod redis_server;
mod resp;
pub mod tools;

pub use program::Program;
pub use redis_server::{RedisOptions, RedisServer};
pub use resp::{RespConnection, encoded, reply_length};
