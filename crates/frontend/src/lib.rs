//! What clients of one node talk to: the lock and cluster services over gRPC, health, reflection, and a little HTTP.
//!
//! A call goes `lock_service` or `connect` → `calls` (validate, register a wait, submit) →
//! [`leasehold_consensus::Node`] → outcome → `convert`. Waits end by what the node applies, and watches tell it:
//! [`Frontend::observer`] hears it. Every error becomes a gRPC status in `status`, and nowhere else.

mod calls;
mod cluster_service;
mod connect;
mod convert;
#[cfg(feature = "counted")]
#[doc(hidden)]
pub mod counted;
mod dapr;
mod error;
#[cfg(feature = "failpoints")]
mod failpoints;
mod frontend;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod http;
mod lock_service;
mod metrics;
mod net;
mod options;
mod redis;
mod server;
mod status;
mod validate;
mod watch;

pub use dapr::{
    AppIdFrom, DaprAddresses, DaprListener, DaprListeners, DaprOptions, DaprOptionsError, DaprStore, DaprToken,
    KeyPrefix,
};
pub use error::CallError;
pub use frontend::{Frontend, FrontendError, Listeners};
pub use options::{FrontendOptions, FrontendOptionsError};
pub use redis::{DelWithoutOwnerCheck, RedisOptions, RedisPassword, SetWithoutTtl};
