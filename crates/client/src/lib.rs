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
//! elsewhere under the same id, so it has one effect. Its locks hang on one [`Session`], which it opens with the first of
//! them and keeps alive with one renewal for all. Guards count their own deadline from the send of the renewals and say
//! when the lock is lost, and why.
//!
//! # The main paths
//! - One lock: [`Client::lock`], then [`shared`](LockBuilder::shared) or [`permits`](LockBuilder::permits) if it is not to be
//!   exclusive, then [`acquire`](LockBuilder::acquire), [`acquire_timeout`](LockBuilder::acquire_timeout) or
//!   [`try_acquire`](LockBuilder::try_acquire). It comes as a [`Guard`] whose type knows the mode.
//! - Several at once, all or nothing, modes mixed: [`Client::locks`], which come as a [`MultiGuard`].
//! - From shared to exclusive and back without letting go: [`Guard::upgrade`], [`Guard::downgrade`].
//! - What protects a resource: [`Guard::token`], which the resource compares; see `examples/fenced_storage.rs`.
//! - What ends a lock early: [`Guard::lost`], [`Guard::left_at_most`], [`Guard::cancellation_token`].
//! - More sessions, or one that somebody else opened: [`Client::session`], [`Client::attach_session`]. A lock that is to live and
//!   die alone: [`LockBuilder::own_lease`].
//! - Tasks that lock one another out: name an [`Actor`], and the one that would close the cycle gets
//!   [`Error::Deadlock`]. A task that takes the same lock again: [`Client::reentrant`].
//! - Who leads: [`Client::election`], see `examples/election.rs`. What happens: [`Client::watch`].
//! - The end: [`Client::shutdown`] gives all locks back at once.
//! - Tools, which pass tokens and ids on: [`Client::raw`], [`Client::release`], [`Client::renew`] and the like.
//!
//! Every future may be dropped. What it had asked for is cancelled in the background until that is answered; where a
//! dropped future means more than that, its documentation says so.
//!
//! Sessions, modes, values and the like need a cluster at format level 2; below it only exclusive locks with leases of their
//! own are granted, and everything else is [`Error::Refused`].
//!
//! What is deliberately absent: polling for a lock (the cluster answers when it is granted), any trust in the wall clock
//! ([`clock`] reads `CLOCK_BOOTTIME` only), and any guess from the thread or task that runs who is asking.

mod acquire;
mod actor;
mod ask;
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
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
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
mod subscription;
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
