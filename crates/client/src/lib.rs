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
mod actor;
mod backoff;
mod builder;
mod call;
mod calls;
mod client;
pub mod clock;
mod cluster;
mod convert;
mod draft;
mod election;
mod endpoints;
mod error;
mod feed;
mod guard;
mod held_grants;
mod held_lease;
mod hold;
mod ids;
mod inner;
mod instance;
mod keeper;
mod loss;
mod mode;
mod multi_guard;
mod observe;
mod observer;
mod options;
mod raw;
mod reentrant;
mod request;
mod runtime;
mod session;
mod set_builder;
mod stream;
mod transport;
mod types;
mod watch;

pub use acquire::Wait;
pub use actor::Actor;
pub use builder::LockBuilder;
pub use client::Client;
pub use cluster::{cluster_status, raise_level};
pub use convert::{NotDowngraded, NotUpgraded, Upgrade, UpgradeFailure};
pub use election::{Election, Leader, Leadership};
pub use error::Error;
pub use feed::WatchItem;
pub use guard::Guard;
pub use ids::{LeaseId, SessionId, Token};
pub use instance::ACQUIRES_MAX;
/// How a grant was lost, as the cluster remembers it.
pub use leasehold_proto::v1::Loss as LossInfo;
/// Messages of the wire that are handed through as they are: what a cluster says of locks, sessions and itself.
pub use leasehold_proto::v1::{
    CheckTokenResponse, DeadlockStep, EventType, GetSessionResponse, Holder, LockInfo, LossReason, Mode, NodeStatus,
    RaiseLevelResponse, Revision, Role, SessionInfo, StatusResponse, Waiter, WatchEvent,
};
pub use loss::Loss;
pub use mode::{Exclusive, GrantInfo, InSession, LockMode, LockSpec, OwnLease, Permits, Shared};
pub use multi_guard::MultiGuard;
pub use observe::Observe;
pub use observer::Observer;
pub use options::{ClientOptions, ENDPOINTS_MAX, TTL_DEFAULT, default_owner};
pub use raw::RawAcquire;
pub use reentrant::{ReentrantGuard, ReentrantLock};
pub use session::{Session, SessionBuilder};
pub use set_builder::LockSetBuilder;
pub use tokio_util::sync::CancellationToken;
pub use types::{
    Acquired, Acquisition, Convert, Deadlock, HeldInfo, LeaseClosed, Released, ReleasedLock, Renewed, TryAcquire,
    ValueSet,
};
pub use watch::{Watch, WatchTarget};
