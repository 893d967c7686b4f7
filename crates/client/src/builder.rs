//! How a caller says what lock to acquire.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::acquire::Wait;
use crate::actor::Actor;
use crate::draft::Draft;
use crate::error::Error;
use crate::guard::Guard;
use crate::mode::{Exclusive, InSession, LockMode, OwnLease, Permits, Shared};
use crate::raw::acquire_raw;
use crate::types::{Acquisition, TryAcquire};

/// An acquire in the making; see [`Client::lock`](crate::Client::lock). It asks for the lock [`Exclusive`]ly and under the
/// session, unless told otherwise.
///
/// Every future is safe to drop: what it had asked for is cancelled in the background, until that is answered.
///
/// A time to live belongs to a lease of its own:
/// ```compile_fail,E0599
/// # fn ttl(client: leasehold_client::Client) {
/// let _ = client.lock("orders").ttl(std::time::Duration::from_secs(5));
/// # }
/// ```
/// ```
/// # fn ttl(client: leasehold_client::Client) {
/// let _ = client.lock("orders").own_lease().ttl(std::time::Duration::from_secs(5));
/// # }
/// ```
/// A mode is chosen once:
/// ```compile_fail,E0599
/// # fn twice(client: leasehold_client::Client) {
/// let _ = client.lock("orders").shared().permits(1, 3);
/// # }
/// ```
/// Nobody keeps a lock without a guard alive, so only one with a lease of its own can be acquired so:
/// ```compile_fail,E0599
/// # fn raw(client: leasehold_client::Client) {
/// let _ = client.lock("orders").acquire_raw(leasehold_client::Wait::Try);
/// # }
/// ```
#[must_use = "nothing is asked until one of the acquire calls"]
pub struct LockBuilder<M = Exclusive, L = InSession> {
    draft: Draft,
    kind: PhantomData<fn() -> (M, L)>,
}

impl LockBuilder {
    /// Of one lock.
    pub(crate) fn new(draft: Draft) -> Self {
        Self { draft, kind: PhantomData }
    }
}

impl<L> LockBuilder<Exclusive, L> {
    /// Asks to share the lock with others that do.
    pub fn shared(self) -> LockBuilder<Shared, L> {
        self.with_mode(LockMode::Shared)
    }

    /// Asks for `permits` of `limit`: a counting semaphore. The lock's first user sets its limit; while somebody holds or
    /// awaits permits of it, another limit is refused.
    pub fn permits(self, permits: u32, limit: u32) -> LockBuilder<Permits, L> {
        self.with_mode(LockMode::Permits { permits, limit })
    }
}

impl<M> LockBuilder<M, InSession> {
    /// Asks for a lease of its own instead of the session: for a lock that is to be lost, or kept, for itself.
    pub fn own_lease(mut self) -> LockBuilder<M, OwnLease> {
        self.draft.own_lease();
        LockBuilder { draft: self.draft, kind: PhantomData }
    }

    /// Who within the session asks: tasks that say so are told of deadlocks among themselves and with others.
    pub fn actor(mut self, actor: impl Into<Actor>) -> Self {
        self.draft.spec.actor = actor.into().name().to_owned();
        self
    }
}

impl<M> LockBuilder<M, OwnLease> {
    /// Time to live of the lease between renewals. Default 30 s.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.draft.ttl(ttl);
        self
    }

    /// Acquires without a guard: nobody renews the lease, nobody releases the lock.
    pub async fn acquire_raw(self, wait: Wait) -> Result<Acquisition, Error> {
        acquire_raw(self.draft.inner(), &self.draft.checked_spec()?, wait).await
    }
}

impl<M, L> LockBuilder<M, L> {
    fn with_mode<N>(mut self, mode: LockMode) -> LockBuilder<N, L> {
        for lock in &mut self.draft.spec.locks {
            lock.mode = mode;
        }
        LockBuilder { draft: self.draft, kind: PhantomData }
    }

    /// Who asks: shown to others, no authority. Default: the session's owner, or the client's for a lease of its own.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.draft.spec.owner = owner.into();
        self
    }

    /// A text that others see with the holder.
    pub fn metadata(mut self, metadata: impl Into<String>) -> Self {
        self.draft.spec.metadata = metadata.into();
        self
    }

    /// A value that others see on the grant, as its version 0; see [`Guard::set_value`].
    pub fn value(mut self, value: impl Into<Vec<u8>>) -> Self {
        self.draft.spec.value = value.into();
        self
    }

    /// How long nobody gets the lock after this grant expired or was ended by force. Default: no time at all.
    pub fn lock_delay(mut self, delay: Duration) -> Self {
        self.draft.lock_delay(delay);
        self
    }

    /// Takes the lock if it is free now.
    pub async fn try_acquire(self) -> Result<TryAcquire<Guard<M>>, Error> {
        Ok(self.draft.try_acquire().await?.map(Guard::new))
    }

    /// Waits in the lock's queue until it is granted. Where its session ends meanwhile, a wait under the client's default
    /// session goes on under a new one, at the end of the queue; one under a session of the caller's is
    /// [`Error::SessionLost`].
    pub async fn acquire(self) -> Result<Guard<M>, Error> {
        self.draft.acquire().await.map(Guard::new)
    }

    /// The same, at most this long; `None` if that was not long enough.
    pub async fn acquire_timeout(self, wait: Duration) -> Result<Option<Guard<M>>, Error> {
        Ok(self.draft.acquire_timeout(wait).await?.map(Guard::new))
    }
}

impl<M, L> Clone for LockBuilder<M, L> {
    fn clone(&self) -> Self {
        Self { draft: self.draft.clone(), kind: PhantomData }
    }
}

impl<M, L> fmt::Debug for LockBuilder<M, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LockBuilder").field(&self.draft.spec).finish()
    }
}
