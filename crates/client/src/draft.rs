//! What all ways to acquire a guard have in common: what to take, under what, and how the wait goes on when a session ends.

use std::sync::Arc;
use std::time::Duration;

use crate::acquire::{Obtained, Wait, give_up_at, obtain};
use crate::call::millis;
use crate::client::ClientCore;
use crate::clock::Moment;
use crate::error::Error;
use crate::held_lease::{HeldLease, LeaseKind};
use crate::hold::Hold;
use crate::inner::Inner;
use crate::loss::Loss;
use crate::mode::LockSpec;
use crate::options::TTL_DEFAULT;
use crate::request::{AcquireSpec, LeaseSpec};
use crate::session::SessionCore;
use crate::types::{Acquired, HeldInfo, TryAcquire};

/// What grants are to hang on.
#[derive(Debug, Clone)]
pub(crate) enum Under {
    /// The client's default session.
    Default,
    /// This session.
    Session(Arc<SessionCore>),
    /// A lease of their own.
    Own(Duration),
}

/// An acquire in the making.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    shared: Arc<ClientCore>,
    under: Under,
    pub(crate) spec: AcquireSpec,
}

/// What a guarded acquire came to.
#[derive(Debug)]
pub(crate) enum Taken {
    Hold(Hold),
    Held(HeldInfo),
    TimedOut,
}

impl Draft {
    pub(crate) fn new(shared: Arc<ClientCore>, under: Under, locks: Vec<LockSpec>) -> Self {
        let spec = AcquireSpec {
            namespace: shared.inner.options.namespace.clone(),
            locks,
            // Under a session: the session's.
            owner: String::new(),
            metadata: String::new(),
            // Put in when it is known.
            lease: LeaseSpec::Own { ttl_ms: 0 },
            actor: String::new(),
            lock_delay_ms: 0,
            value: Vec::new(),
        };
        Self { shared, under, spec }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.shared.inner
    }

    pub(crate) fn own_lease(&mut self) {
        if !matches!(self.under, Under::Own(_)) {
            self.ttl(TTL_DEFAULT);
        }
    }

    pub(crate) fn ttl(&mut self, ttl: Duration) {
        self.under = Under::Own(ttl);
        self.spec.lease = LeaseSpec::Own { ttl_ms: millis(ttl) };
    }

    pub(crate) fn lock_delay(&mut self, delay: Duration) {
        self.spec.lock_delay_ms = if delay.is_zero() { 0 } else { millis(delay) };
    }

    /// What is asked for, checked as far as no limit of the cluster is concerned; with an owner where it needs one.
    pub(crate) fn checked_spec(&self) -> Result<AcquireSpec, Error> {
        if self.spec.locks.is_empty() {
            return Err(Error::Options { field: "locks", problem: "at least one lock is needed".to_owned() });
        }
        let mut spec = self.spec.clone();
        let own = matches!(self.under, Under::Own(_)) && matches!(spec.lease, LeaseSpec::Own { .. });
        if own && spec.owner.is_empty() {
            spec.owner.clone_from(&self.inner().options.owner);
        }
        Ok(spec)
    }

    pub(crate) async fn acquire(self) -> Result<Hold, Error> {
        match self.take(Wait::Forever).await? {
            Taken::Hold(hold) => Ok(hold),
            _ => Err(Error::Server { message: "an endless wait was ended".to_owned() }),
        }
    }

    pub(crate) async fn acquire_timeout(self, wait: Duration) -> Result<Option<Hold>, Error> {
        match self.take(Wait::For(wait)).await? {
            Taken::Hold(hold) => Ok(Some(hold)),
            Taken::TimedOut => Ok(None),
            Taken::Held(_) => Err(Error::Server { message: "a wait was answered as a try".to_owned() }),
        }
    }

    pub(crate) async fn try_acquire(self) -> Result<TryAcquire<Hold>, Error> {
        match self.take(Wait::Try).await? {
            Taken::Hold(hold) => Ok(TryAcquire::Acquired(hold)),
            Taken::Held(held) => Ok(TryAcquire::Held(held)),
            Taken::TimedOut => Err(Error::Server { message: "a try was answered as a wait".to_owned() }),
        }
    }

    async fn take(self, wait: Wait) -> Result<Taken, Error> {
        let give_up = give_up_at(self.inner(), wait);
        let spec = self.checked_spec()?;
        match &self.under {
            Under::Own(ttl) => {
                let obtained = obtain(self.inner(), &spec, wait, give_up, None).await?;
                let inner = self.inner();
                taken(obtained, |acquired| {
                    let lease = HeldLease::new(LeaseKind::Own, acquired.lease, *ttl, acquired.deadline);
                    Hold::own(inner, spec.namespace.clone(), Arc::new(lease), acquired.grants)
                })
            }
            Under::Session(core) => under_session(core, &spec, wait, give_up).await,
            Under::Default => loop {
                let core = self.default_session(give_up).await?;
                match under_session(&core, &spec, wait, give_up).await {
                    // A new session goes on waiting, at the end of the queue.
                    // Whoever closes the session wants no other one.
                    Err(Error::SessionLost { loss }) if loss != Loss::Closed => {
                        tracing::debug!(session = %core.id, %loss, "an acquire goes on under a new session");
                        if give_up.is_some_and(|end| self.inner().clock.now() >= end) {
                            return Ok(Taken::TimedOut);
                        }
                    }
                    Err(Error::SessionLost { .. }) if self.inner().stop.is_cancelled() => return Err(Error::Closed),
                    result => return result,
                }
            },
        }
    }

    async fn default_session(&self, give_up: Option<Moment>) -> Result<Arc<SessionCore>, Error> {
        let inner = self.inner();
        let end = inner.call_deadline();
        // Even a wait of no length gets an answer from the cluster.
        let end = give_up.map_or(end, |give_up| give_up.max(inner.clock.now().after(SESSION_WAIT_MIN)).min(end));
        self.shared.default.get(&self.shared, inner.left_until(end)).await
    }
}

/// The least time that is given to the opening of a session.
const SESSION_WAIT_MIN: Duration = Duration::from_secs(1);

fn taken(obtained: Obtained, hold: impl FnOnce(Acquired) -> Hold) -> Result<Taken, Error> {
    match obtained {
        Obtained::Acquired(acquired) => Ok(Taken::Hold(hold(acquired))),
        Obtained::Held(held) => Ok(Taken::Held(held)),
        Obtained::TimedOut => Ok(Taken::TimedOut),
        Obtained::Deadlock(deadlock) => Err(Error::Deadlock(deadlock)),
        Obtained::Ended(_) => Err(Error::Server { message: "an acquire was answered as a convert".to_owned() }),
    }
}

/// Acquires under a session that lives; if it does not live long enough, [`Error::SessionLost`].
async fn under_session(
    core: &Arc<SessionCore>,
    spec: &AcquireSpec,
    wait: Wait,
    give_up: Option<Moment>,
) -> Result<Taken, Error> {
    let spec = AcquireSpec { lease: LeaseSpec::Session(core.id), ..spec.clone() };
    if let Some(loss) = core.loss() {
        return Err(Error::SessionLost { loss });
    }
    // From here on the news that a grant has ended may be faster than the grant.
    let _asking = core.tracked.asking();
    let obtained = tokio::select! {
        biased;
        obtained = obtain(&core.inner, &spec, wait, give_up, None) => obtained,
        loss = core.until_lost() => return Err(Error::SessionLost { loss }),
    };
    match obtained {
        Ok(obtained) => taken(obtained, |acquired| Hold::in_session(core.clone(), spec.namespace, acquired.grants)),
        Err(error) if error.is_no_session() => {
            core.reported_gone().await;
            let loss = core.loss().unwrap_or(Loss::SessionEnded { reason: None });
            Err(Error::SessionLost { loss })
        }
        Err(error) => Err(error),
    }
}
