//! How a caller says what to acquire.

use std::sync::Arc;
use std::time::Duration;

use crate::acquire::{Wait, obtain};
use crate::call::millis;
use crate::error::Error;
use crate::guard::Guard;
use crate::inner::Inner;
use crate::request::AcquireSpec;
use crate::types::{Acquired, Acquisition, TryAcquire};

/// Time to live of a lease if nothing else is said.
pub const TTL_DEFAULT: Duration = Duration::from_secs(30);

/// An acquire in the making; see [`Client::lock`](crate::Client::lock).
///
/// Every future is safe to drop: what it had asked for is cancelled in the background.
#[derive(Debug, Clone)]
#[must_use = "nothing is asked until one of the acquire calls"]
pub struct LockBuilder {
    inner: Arc<Inner>,
    spec: AcquireSpec,
}

impl LockBuilder {
    pub(crate) fn new(inner: Arc<Inner>, name: String) -> Self {
        let spec = AcquireSpec {
            namespace: inner.options.namespace.clone(),
            name,
            owner: inner.options.owner.clone(),
            ttl_ms: millis(TTL_DEFAULT),
            metadata: String::new(),
        };
        Self { inner, spec }
    }

    /// Time to live of the lease between renewals. Default 30 s.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.spec.ttl_ms = millis(ttl);
        self
    }

    /// Who asks; default: the client's owner.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.spec.owner = owner.into();
        self
    }

    /// A text that others see with the holder.
    pub fn metadata(mut self, metadata: impl Into<String>) -> Self {
        self.spec.metadata = metadata.into();
        self
    }

    /// Takes the lock if it is free now.
    pub async fn try_acquire(self) -> Result<TryAcquire, Error> {
        match obtain(&self.inner, &self.spec, Wait::Try).await? {
            Acquisition::Acquired(acquired) => Ok(TryAcquire::Acquired(self.guard(acquired))),
            Acquisition::Held(held) => Ok(TryAcquire::Held(held)),
            Acquisition::TimedOut => Err(Error::Server { message: "a try was answered as a wait".to_owned() }),
        }
    }

    /// Waits in the lock's queue until it is granted.
    pub async fn acquire(self) -> Result<Guard, Error> {
        match self.wait_for(Wait::Forever).await? {
            Some(guard) => Ok(guard),
            None => Err(Error::Server { message: "an endless wait was ended".to_owned() }),
        }
    }

    /// Waits in the lock's queue, at most this long; `None` if that was not long enough.
    pub async fn acquire_timeout(self, wait: Duration) -> Result<Option<Guard>, Error> {
        self.wait_for(Wait::For(wait)).await
    }

    /// Acquires without a guard: nobody renews the lease, nobody releases the lock.
    pub async fn acquire_raw(self, wait: Wait) -> Result<Acquisition, Error> {
        obtain(&self.inner, &self.spec, wait).await
    }

    async fn wait_for(self, wait: Wait) -> Result<Option<Guard>, Error> {
        match obtain(&self.inner, &self.spec, wait).await? {
            Acquisition::Acquired(acquired) => Ok(Some(self.guard(acquired))),
            Acquisition::TimedOut => Ok(None),
            Acquisition::Held(_) => Err(Error::Server { message: "a wait was answered as a try".to_owned() }),
        }
    }

    fn guard(self, acquired: Acquired) -> Guard {
        let ttl = Duration::from_millis(self.spec.ttl_ms);
        Guard::new(&self.inner, self.spec.namespace, acquired, ttl)
    }
}
