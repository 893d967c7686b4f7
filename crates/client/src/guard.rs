//! A held lock, in a caller's hands.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::Wait;
use crate::convert::{NotDowngraded, NotUpgraded, Upgrade};
use crate::error::Error;
use crate::hold::Hold;
use crate::ids::{LeaseId, SessionId, Token};
use crate::loss::Loss;
use crate::mode::{Exclusive, LockMode, Permits, Shared};
use crate::runtime::sleep;
use crate::types::{Released, ValueSet};

/// The longest that [`Guard::left_at_most`] trusts a timer.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A held lock. Kept alive in the background until it is released, dropped or lost. Its type says how it is held:
/// [`Exclusive`], [`Shared`] or [`Permits`].
///
/// Holding a guard is no proof of holding the lock: a process can be paused between a look and a write. Pass
/// [`Guard::token`] to the resource and let it refuse older ones.
///
/// Two guards of one grant cannot be made:
/// ```compile_fail,E0599
/// fn twice(guard: leasehold_client::Guard) -> (leasehold_client::Guard, leasehold_client::Guard) {
///     (guard.clone(), guard)
/// }
/// ```
/// A lock that was given back cannot be used:
/// ```compile_fail,E0382
/// async fn after(guard: leasehold_client::Guard) {
///     guard.release().await;
///     guard.token();
/// }
/// ```
#[must_use = "a guard that is dropped gives the lock back"]
pub struct Guard<M = Exclusive> {
    hold: Hold,
    mode: PhantomData<fn() -> M>,
}

impl<M> Guard<M> {
    pub(crate) fn new(hold: Hold) -> Self {
        Self { hold, mode: PhantomData }
    }

    pub(crate) fn into_hold(self) -> Hold {
        self.hold
    }

    /// The lock's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.hold.grants.first().name
    }

    /// The fencing token: strictly increasing from grant to grant.
    #[must_use]
    pub fn token(&self) -> Token {
        self.hold.grants.first().token
    }

    /// The lease or session that the lock hangs on.
    #[must_use]
    pub fn lease(&self) -> &LeaseId {
        &self.hold.grants.lease.lease
    }

    /// The session that the lock hangs on, unless it has a lease of its own.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.hold.session()
    }

    /// Whether the lock is held by this client's clock, and nobody has said otherwise. Looks at the clock itself.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.hold.is_held()
    }

    /// How long the lock is safe to count on if no renewal succeeds any more. Zero once it is lost.
    #[must_use]
    pub fn deadline_left(&self) -> Duration {
        self.hold.deadline_left()
    }

    /// Why the lock was lost, if it was.
    #[must_use]
    pub fn loss(&self) -> Option<Loss> {
        self.hold.loss()
    }

    /// Resolves when the lock is lost, with the reason. Never while it is held.
    pub async fn lost(&self) -> Loss {
        self.hold.grants.until_lost().await
    }

    /// Resolves when at most `margin` is left, or the lock is lost: time to stop what it protects.
    pub async fn left_at_most(&self, margin: Duration) {
        left_at_most(margin, self.hold.grants.lost(), || self.deadline_left()).await;
    }

    /// A token that is cancelled when the lock is lost, for work that runs under it.
    #[must_use]
    pub fn cancellation_token(&self) -> CancellationToken {
        self.hold.grants.lost().child_token()
    }

    /// Replaces the value that others see on the grant, if it has this version still. A grant begins with version 0; each
    /// change adds one.
    pub async fn set_value(&self, version: u64, value: impl Into<Vec<u8>>) -> Result<ValueSet, Error> {
        let hold = &self.hold;
        let set = hold.inner.set_value(&hold.namespace, self.name(), self.token(), version, value.into()).await?;
        if let ValueSet::NotHeld { reason } = set {
            hold.grants.lose(self.token(), Loss::Ended { reason, note: String::new() });
        }
        Ok(set)
    }

    /// Gives the lock back and waits for the answer. Goes on in the background if the future is dropped.
    pub async fn release(self) -> Result<Released, Error> {
        let released = self.hold.release().await?;
        let first = released.first().map(|lock| Released { released: lock.released, reason: lock.reason });
        first.ok_or_else(|| Error::Server { message: "a release was not answered".to_owned() })
    }
}

impl Guard<Exclusive> {
    /// Lets others share the lock, without letting go of it: always possible while it is held. The grant gets a new token.
    /// If the future is dropped the lock is given back.
    pub async fn downgrade(self) -> Result<Guard<Shared>, NotDowngraded> {
        crate::convert::downgrade(self).await
    }
}

/// Only a shared lock can be upgraded, and only an exclusive one downgraded:
/// ```
/// use leasehold_client::{Exclusive, Guard, Shared};
/// async fn up(guard: Guard<Shared>) {
///     let _ = guard.upgrade().await;
/// }
/// async fn down(guard: Guard<Exclusive>) {
///     let _ = guard.downgrade().await;
/// }
/// ```
/// ```compile_fail,E0599
/// async fn up(guard: leasehold_client::Guard<leasehold_client::Exclusive>) {
///     let _ = guard.upgrade().await;
/// }
/// ```
/// ```compile_fail,E0599
/// async fn down(guard: leasehold_client::Guard<leasehold_client::Permits>) {
///     let _ = guard.downgrade().await;
/// }
/// ```
impl Guard<Shared> {
    /// Waits until nobody else shares the lock, ahead of its queue, without letting go of it. The grant gets a new token.
    /// If it does not come to that, the shared guard comes back. If the future is dropped the lock is given back: where it
    /// may be, in a `select!` for example, use [`Guard::begin_upgrade`].
    pub async fn upgrade(self) -> Result<Guard<Exclusive>, NotUpgraded> {
        self.begin_upgrade().finish(Wait::Forever).await
    }

    /// The same, if nobody else shares the lock now.
    pub async fn try_upgrade(self) -> Result<Guard<Exclusive>, NotUpgraded> {
        self.begin_upgrade().finish(Wait::Try).await
    }

    /// The same, waiting at most this long.
    pub async fn upgrade_timeout(self, wait: Duration) -> Result<Guard<Exclusive>, NotUpgraded> {
        self.begin_upgrade().finish(Wait::For(wait)).await
    }

    /// An upgrade whose attempts may be dropped without losing the shared lock.
    pub fn begin_upgrade(self) -> Upgrade {
        Upgrade::new(self)
    }
}

impl Guard<Permits> {
    /// How many permits are held.
    #[must_use]
    pub fn permits(&self) -> u32 {
        self.of_limit().0
    }

    /// Of how many.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.of_limit().1
    }

    fn of_limit(&self) -> (u32, u32) {
        match self.hold.grants.first().mode {
            LockMode::Permits { permits, limit } => (permits, limit),
            LockMode::Exclusive | LockMode::Shared => (0, 0),
        }
    }
}

impl<M> fmt::Debug for Guard<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grant = self.hold.grants.first();
        f.debug_struct("Guard").field("grant", grant).field("lease", self.lease()).field("loss", &self.loss()).finish()
    }
}

/// Waits until at most `margin` is left, or `lost`. Looks at the clock often: timers do not count suspend.
pub(crate) async fn left_at_most(margin: Duration, lost: &CancellationToken, left: impl Fn() -> Duration) {
    loop {
        let left = left();
        if left <= margin {
            return;
        }
        tokio::select! {
            () = lost.cancelled() => return,
            () = sleep((left - margin).min(LOOK_EVERY)) => {}
        }
    }
}
