//! Dapr's distributed-lock API: its clients talk to a node as they would to a sidecar.
//!
//! A thin door. [`Locks`] turns a call of either transport into the same commands and reads as a call of `LockService`; no
//! lock logic is here. `grpc` and `http` only read and write the wire.

mod body;
mod caller;
mod counted;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod grpc;
mod http;
mod listeners;
mod locks;
mod options;
mod serve;

pub(crate) use self::grpc::Service;
pub(crate) use self::http::{Health, routes};
pub use self::listeners::{DaprAddresses, DaprListeners};
pub(crate) use self::locks::Locks;
pub use self::options::{AppIdFrom, DaprListener, DaprOptions, DaprOptionsError, DaprStore, DaprToken, KeyPrefix};
pub(crate) use self::serve::serve;
