//! A session of this client: kept alive, watched, and closed with its last user.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leasehold_proto::v1;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::tracked::Tracked;
use super::watcher;
use crate::call::millis;
use crate::clock::Moment;
use crate::error::Error;
use crate::held_lease::{HeldLease, LeaseKind};
use crate::ids::{LeaseId, SessionId};
use crate::inner::{ERRAND_MAX, Inner, Renewal};
use crate::loss::Loss;
use crate::types::LeaseClosed;

/// What a session is opened with.
#[derive(Debug, Clone)]
pub(crate) struct SessionSpec {
    pub(crate) id: SessionId,
    pub(crate) ttl: Duration,
    pub(crate) owner: String,
    pub(crate) metadata: String,
}

/// Lives as long as a handle, a guard or an acquire of it.
#[derive(Debug)]
pub(crate) struct SessionCore {
    pub(crate) inner: Arc<Inner>,
    pub(crate) id: SessionId,
    pub(crate) tracked: Arc<Tracked>,
    key: u64,
    /// Somebody else's: kept alive here, but not ended with its last user here.
    attached: bool,
    closed: AtomicBool,
    watching: CancellationToken,
}

impl SessionCore {
    /// Opens a session.
    pub(crate) async fn open(inner: &Arc<Inner>, spec: &SessionSpec, deadline: Moment) -> Result<Arc<Self>, Error> {
        let request = v1::OpenSessionRequest {
            namespace: inner.options.namespace.clone(),
            session: spec.id.to_string(),
            ttl_ms: millis(spec.ttl),
            owner: spec.owner.clone(),
            metadata: spec.metadata.clone(),
        };
        // Dropped before it is answered, the session is closed again.
        let mut opening = Opening { inner, id: spec.id, done: false };
        let opened = inner.open_session(request, deadline).await;
        opening.done = !matches!(opened, Err(Error::FateUnknown { .. }));
        let (_, deadline) = opened?;
        Ok(Self::kept(inner, spec.id, spec.ttl, deadline, false))
    }

    /// Keeps a session alive that somebody opened before.
    pub(crate) async fn attach(inner: &Arc<Inner>, id: SessionId) -> Result<Arc<Self>, Error> {
        let lease = LeaseId::from(id);
        let answer = inner.get_session(&lease).await?;
        let not_open =
            |reason| Error::SessionLost { loss: Loss::SessionEnded { reason: crate::loss::remembered(reason) } };
        let Some(info) = answer.session.as_ref() else { return Err(not_open(answer.reason())) };
        if info.namespace != inner.options.namespace {
            let problem = format!("{id} is of namespace {:?}, not {:?}", info.namespace, inner.options.namespace);
            return Err(Error::Options { field: "session", problem });
        }
        match inner.renew(&lease, 0, inner.call_deadline()).await? {
            Renewal::Alive { deadline, .. } => {
                let core = Self::kept(inner, id, Duration::from_millis(info.ttl_ms), deadline, true);
                // Of before: nobody here holds those.
                core.lease().forced(info.forced);
                Ok(core)
            }
            Renewal::Gone(reason) => Err(not_open(reason)),
        }
    }

    fn kept(inner: &Arc<Inner>, id: SessionId, ttl: Duration, deadline: Moment, attached: bool) -> Arc<Self> {
        let lease = Arc::new(HeldLease::new(LeaseKind::Session, id.into(), ttl, deadline));
        let key = inner.keeper.keep(lease.clone());
        let tracked = Arc::new(Tracked::new(lease, inner.options.namespace.clone()));
        let watching = CancellationToken::new();
        inner.spawner.spawn(watcher::watch(inner.clone(), tracked.clone(), watching.clone()));
        let closed = AtomicBool::new(false);
        Arc::new(Self { inner: inner.clone(), id, tracked, key, attached, closed, watching })
    }

    pub(crate) fn lease(&self) -> &Arc<HeldLease> {
        &self.tracked.lease
    }

    /// Looks at the clock.
    pub(crate) fn is_alive(&self) -> bool {
        self.lease().is_held(&self.inner.clock)
    }

    pub(crate) fn loss(&self) -> Option<Loss> {
        if self.is_alive() { None } else { self.lease().loss() }
    }

    /// Resolves when the session is lost.
    pub(crate) async fn until_lost(&self) -> Loss {
        self.lease().lost().cancelled().await;
        self.lease().loss().unwrap_or(Loss::Closed)
    }

    /// A node says that it is not open: asks why, and tells every guard.
    pub(crate) async fn reported_gone(&self) {
        let lease = self.lease();
        if let Ok(Renewal::Gone(reason)) = self.inner.renew(&lease.lease, 0, self.inner.call_deadline()).await {
            lease.ended(reason);
        } else {
            lease.ended(v1::LossReason::Unspecified);
        }
    }

    /// Ends the session, with all that is held under it. Its guards hear of it first: nobody believes to hold what is
    /// being given back. Goes on in the background if the future is dropped.
    pub(crate) async fn close(self: &Arc<Self>, bound: Duration) -> Result<LeaseClosed, Error> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(LeaseClosed { closed: false, grants_ended: 0 });
        }
        self.let_go();
        let (answer, answered) = oneshot::channel();
        let (inner, lease) = (self.inner.clone(), self.lease().lease.clone());
        self.inner.spawner.spawn_errand(async move {
            let deadline = inner.clock.now().after(bound);
            // Nobody may be waiting any more.
            let _ = answer.send(inner.close_lease(&lease, deadline).await);
        });
        answered.await.unwrap_or(Err(Error::Closed))
    }

    fn let_go(&self) {
        self.inner.keeper.forget(self.key);
        self.watching.cancel();
        self.lease().lose(Loss::Closed);
    }
}

impl Drop for SessionCore {
    fn drop(&mut self) {
        let ended = self.lease().loss().is_some_and(|loss| loss.is_told());
        self.let_go();
        if !self.attached && !ended && !self.closed.load(Ordering::Acquire) {
            close_later(&self.inner, self.id);
        }
    }
}

/// Ends a session that nobody uses any more.
fn close_later(inner: &Arc<Inner>, id: SessionId) {
    let inner_of_task = inner.clone();
    inner.spawner.spawn_errand(async move {
        let inner = inner_of_task;
        let deadline = inner.clock.now().after(ERRAND_MAX);
        let closed = inner.close_lease(&id.into(), deadline).await;
        if let Err(error) = closed
            && error != Error::Closed
        {
            tracing::warn!(%error, "a session was not closed, it runs out by itself");
        }
    });
}

/// A session that is being opened.
struct Opening<'a> {
    inner: &'a Arc<Inner>,
    id: SessionId,
    done: bool,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if !self.done {
            close_later(self.inner, self.id);
        }
    }
}
