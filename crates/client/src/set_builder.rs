//! How a caller says what locks to acquire at once.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::acquire::Wait;
use crate::actor::Actor;
use crate::draft::Draft;
use crate::error::Error;
use crate::mode::{InSession, LockSpec, OwnLease};
use crate::multi_guard::MultiGuard;
use crate::raw::acquire_raw;
use crate::types::{Acquisition, TryAcquire};

/// An acquire of several locks in the making; see [`Client::locks`](crate::Client::locks). All or nothing: they are granted
/// together, in one log entry, or none is. Modes may be mixed; names must differ.
///
/// Every future is safe to drop: what it had asked for is cancelled in the background, until that is answered.
#[must_use = "nothing is asked until one of the acquire calls"]
pub struct LockSetBuilder<L = InSession> {
    draft: Draft,
    kind: PhantomData<fn() -> L>,
}

impl LockSetBuilder {
    pub(crate) fn new(draft: Draft) -> Self {
        Self { draft, kind: PhantomData }
    }

    /// Asks for a lease of their own instead of the session.
    pub fn own_lease(mut self) -> LockSetBuilder<OwnLease> {
        self.draft.own_lease();
        LockSetBuilder { draft: self.draft, kind: PhantomData }
    }

    /// Who within the session asks; see [`LockBuilder::actor`](crate::LockBuilder::actor).
    pub fn actor(mut self, actor: impl Into<Actor>) -> Self {
        self.draft.spec.actor = actor.into().name().to_owned();
        self
    }
}

impl LockSetBuilder<OwnLease> {
    /// Time to live of the lease between renewals. Default 30 s.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.draft.ttl(ttl);
        self
    }

    /// Acquires without a guard: nobody renews the lease, nobody releases the locks.
    pub async fn acquire_raw(self, wait: Wait) -> Result<Acquisition, Error> {
        acquire_raw(self.draft.inner(), &self.draft.checked_spec()?, wait).await
    }
}

impl<L> LockSetBuilder<L> {
    /// One lock more.
    pub fn and(mut self, lock: impl Into<LockSpec>) -> Self {
        self.draft.spec.locks.push(lock.into());
        self
    }

    /// Who asks: shown to others, no authority. Default: the session's owner, or the client's for a lease of their own.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.draft.spec.owner = owner.into();
        self
    }

    /// A text that others see with the holder.
    pub fn metadata(mut self, metadata: impl Into<String>) -> Self {
        self.draft.spec.metadata = metadata.into();
        self
    }

    /// A value that others see on each grant, as its version 0.
    pub fn value(mut self, value: impl Into<Vec<u8>>) -> Self {
        self.draft.spec.value = value.into();
        self
    }

    /// How long nobody gets the locks after these grants expired or were ended by force. Default: no time at all.
    pub fn lock_delay(mut self, delay: Duration) -> Self {
        self.draft.lock_delay(delay);
        self
    }

    /// Takes the locks if all are free now.
    pub async fn try_acquire(self) -> Result<TryAcquire<MultiGuard>, Error> {
        Ok(self.draft.try_acquire().await?.map(MultiGuard::new))
    }

    /// Waits in the locks' queues until all are granted; see [`LockBuilder::acquire`](crate::LockBuilder::acquire). Where it
    /// is first in the queue of one of them, that one waits with it.
    pub async fn acquire(self) -> Result<MultiGuard, Error> {
        self.draft.acquire().await.map(MultiGuard::new)
    }

    /// The same, at most this long; `None` if that was not long enough.
    pub async fn acquire_timeout(self, wait: Duration) -> Result<Option<MultiGuard>, Error> {
        Ok(self.draft.acquire_timeout(wait).await?.map(MultiGuard::new))
    }
}

impl<L> Clone for LockSetBuilder<L> {
    fn clone(&self) -> Self {
        Self { draft: self.draft.clone(), kind: PhantomData }
    }
}

impl<L> fmt::Debug for LockSetBuilder<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LockSetBuilder").field(&self.draft.spec).finish()
    }
}
