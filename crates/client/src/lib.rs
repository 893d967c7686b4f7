//! Client of Leasehold, the Raft-replicated lock service.
//!
//! ```no_run
//! # async fn example() -> Result<(), leasehold_client::Error> {
//! use leasehold_client::{Client, ClientOptions};
//!
//! let client = Client::connect(ClientOptions::new(["127.0.0.1:7400"])).await?;
//! let guard = client.lock("orders").acquire().await?;
//! println!("held under fencing token {}", guard.token());
//! guard.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] keeps one stream to every node and follows failover: a request that got no answer is sent again
//! elsewhere under the same id, so it has one effect. A [`Guard`] is renewed in the background, counts its own deadline
//! from the send of the request, and says when the lock is lost.
//!
//! What is deliberately absent: polling for a lock (the cluster answers when it is granted), and any trust in the wall
//! clock ([`clock`] reads `CLOCK_BOOTTIME` only).

mod acquire;
mod backoff;
mod builder;
mod call;
mod client;
pub mod clock;
mod cluster;
mod endpoints;
mod error;
mod guard;
mod held_lease;
mod ids;
mod inner;
mod instance;
mod keeper;
mod observer;
mod options;
mod request;
mod runtime;
mod stream;
mod transport;
mod types;

pub use acquire::Wait;
pub use builder::{LockBuilder, TTL_DEFAULT};
pub use client::Client;
pub use cluster::cluster_status;
pub use error::Error;
pub use guard::{Guard, Released};
pub use held_lease::Loss;
pub use ids::{LeaseId, Token};
pub use instance::ACQUIRES_MAX;
/// Messages of the wire that are handed through as they are: what a cluster says of locks and of itself.
pub use leasehold_proto::v1::{Holder, LockInfo, LossReason, Mode, NodeStatus, Role, StatusResponse, Waiter};
pub use observer::Observer;
pub use options::{ClientOptions, ENDPOINTS_MAX, default_owner};
pub use tokio_util::sync::CancellationToken;
pub use types::{Acquired, Acquisition, HeldInfo, Renewed, TryAcquire};
