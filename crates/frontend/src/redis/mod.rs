//! The Redis door: lock libraries written for Redis, unchanged, over the same calls as everybody else's.
//!
//! A request goes `connection` (bytes, order, bounds) → `client` (who it is, what it speaks) → `execute` (look, evaluate, one command)
//! → [`crate::calls`]. What the commands and scripts mean is the business of [`leasehold_redis`]: nothing here decides about locks.

mod accounts;
mod client;
mod connection;
mod door;
mod errors;
mod execute;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod info;
mod names;
mod options;
mod policy;
mod scripts;

pub(crate) use self::door::serve;
pub use self::options::{DelWithoutOwnerCheck, RedisOptions, RedisPassword, SetWithoutTtl};
