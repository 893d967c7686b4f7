//! A held lock, in a caller's hands.

use std::sync::Arc;
use std::time::Duration;

use leasehold_proto::v1::LossReason;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::held_lease::{HeldLease, Loss};
use crate::ids::{LeaseId, Token};
use crate::inner::Inner;
use crate::runtime::sleep;
use crate::types::Acquired;

/// The longest that [`Guard::left_at_most`] trusts a timer.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a release found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released {
    /// Whether this ended the grant. False: it was no longer held.
    pub released: bool,
    /// Why it was no longer held, where that is remembered.
    pub reason: Option<LossReason>,
}

/// A held lock. Renewed in the background until it is released, dropped or lost.
///
/// Holding a guard is no proof of holding the lock: a process can be paused between a look and a write. Pass
/// [`Guard::token`] to the resource and let it refuse older ones.
#[derive(Debug)]
pub struct Guard {
    inner: Arc<Inner>,
    namespace: String,
    name: String,
    token: Token,
    held: Arc<HeldLease>,
    key: u64,
    released: bool,
}

impl Guard {
    pub(crate) fn new(inner: &Arc<Inner>, namespace: String, acquired: Acquired, ttl: Duration) -> Self {
        let held = Arc::new(HeldLease::new(acquired.lease, ttl, acquired.deadline));
        let key = inner.keeper.keep(held.clone());
        let (name, token) = (acquired.name, acquired.token);
        Self { inner: inner.clone(), namespace, name, token, held, key, released: false }
    }

    /// The lock's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The fencing token: strictly increasing from grant to grant.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// The lease that the lock hangs on.
    #[must_use]
    pub fn lease(&self) -> &LeaseId {
        &self.held.lease
    }

    /// Whether the lease still runs by this client's clock, and nobody has said otherwise. Looks at the clock itself.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held.is_held(&self.inner.clock)
    }

    /// How long the lock is safe to count on if no renewal succeeds any more. Zero once it is lost.
    #[must_use]
    pub fn deadline_left(&self) -> Duration {
        if self.is_held() { self.inner.left_until(self.held.deadline()) } else { Duration::ZERO }
    }

    /// Why the lock was lost, if it was.
    #[must_use]
    pub fn loss(&self) -> Option<Loss> {
        if self.is_held() { None } else { self.held.loss() }
    }

    /// Resolves when the lock is lost, with the reason. Never while it is renewed.
    pub async fn lost(&self) -> Loss {
        self.held.lost().cancelled().await;
        self.held.loss().unwrap_or(Loss::Closed)
    }

    /// Resolves when at most `margin` is left, or the lock is lost: time to stop what it protects.
    pub async fn left_at_most(&self, margin: Duration) {
        loop {
            let left = self.deadline_left();
            if left <= margin {
                return;
            }
            tokio::select! {
                () = self.held.lost().cancelled() => return,
                () = sleep((left - margin).min(LOOK_EVERY)) => {}
            }
        }
    }

    /// A token that is cancelled when the lock is lost, for work that runs under it.
    #[must_use]
    pub fn cancellation_token(&self) -> CancellationToken {
        self.held.lost().child_token()
    }

    /// Releases the lock and waits for the answer. Goes on in the background if the future is dropped.
    pub async fn release(mut self) -> Result<Released, Error> {
        self.released = true;
        self.inner.keeper.forget(self.key);
        let (answer, answered) = oneshot::channel();
        let (inner, namespace, name, token) =
            (self.inner.clone(), self.namespace.clone(), self.name.clone(), self.token);
        self.inner.spawner.spawn_errand(async move {
            let result = inner.release(&namespace, &name, token, inner.call_deadline()).await;
            // Nobody may be waiting any more.
            let _ = answer.send(result);
        });
        answered.await.unwrap_or(Err(Error::Closed))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.inner.keeper.forget(self.key);
        if !self.released && !matches!(self.held.loss(), Some(Loss::Ended { .. })) {
            let (namespace, name) = (std::mem::take(&mut self.namespace), std::mem::take(&mut self.name));
            self.inner.release_later(namespace, name, self.token);
        }
    }
}
