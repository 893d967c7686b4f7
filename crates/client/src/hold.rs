//! Granted locks and their way back: what every kind of guard is made of.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::held_grants::HeldGrants;
use crate::held_lease::HeldLease;
use crate::ids::SessionId;
use crate::inner::Inner;
use crate::loss::Loss;
use crate::mode::GrantInfo;
use crate::session::{Asking, SessionCore};
use crate::types::ReleasedLock;

/// Kept alive until it is released, dropped or lost.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) inner: Arc<Inner>,
    pub(crate) namespace: String,
    pub(crate) grants: Arc<HeldGrants>,
    under: KeptBy,
    /// Nothing is to be released any more, or somebody else sees to it.
    done: bool,
}

#[derive(Debug, Clone)]
enum KeptBy {
    /// The keeper, by this key; and a task, while more than one lock hangs on the lease.
    Keeper(u64, CancellationToken),
    Session(Arc<SessionCore>),
}

impl Hold {
    pub(crate) fn own(inner: &Arc<Inner>, namespace: String, lease: Arc<HeldLease>, grants: Vec<GrantInfo>) -> Self {
        let key = inner.keeper.keep(lease.clone());
        let grants = Arc::new(HeldGrants::new(lease, grants));
        // The end of the only lock is the end of its lease, which renewals tell.
        let stop = CancellationToken::new();
        if grants.grants.len() > 1 {
            let looking = look_when_in_doubt(inner.clone(), namespace.clone(), grants.clone(), stop.clone());
            inner.spawner.spawn(looking);
        }
        Self { inner: inner.clone(), namespace, grants, under: KeptBy::Keeper(key, stop), done: false }
    }

    pub(crate) fn in_session(core: Arc<SessionCore>, namespace: String, grants: Vec<GrantInfo>) -> Self {
        let grants = Arc::new(HeldGrants::new(core.lease().clone(), grants));
        core.tracked.hold(&grants);
        Self { inner: core.inner.clone(), namespace, grants, under: KeptBy::Session(core), done: false }
    }

    pub(crate) fn session(&self) -> Option<SessionId> {
        match &self.under {
            KeptBy::Keeper(..) => None,
            KeptBy::Session(core) => Some(core.id),
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.grants.is_held(&self.inner.clock)
    }

    pub(crate) fn loss(&self) -> Option<Loss> {
        self.grants.loss(&self.inner.clock)
    }

    pub(crate) fn deadline_left(&self) -> Duration {
        if self.is_held() { self.inner.left_until(self.grants.lease.deadline()) } else { Duration::ZERO }
    }

    /// While it lives, that the grant is converted is no loss.
    pub(crate) fn converting(&self) -> Option<Asking> {
        match &self.under {
            KeptBy::Keeper(..) => None,
            KeptBy::Session(core) => Some(core.tracked.converting(self.grants.first().token)),
        }
    }

    /// The same lock, under the grant that replaced the one it had.
    pub(crate) fn converted(mut self, grant: GrantInfo) -> Self {
        self.done = true;
        let grants = Arc::new(HeldGrants::new(self.grants.lease.clone(), vec![grant]));
        if let KeptBy::Session(core) = &self.under {
            core.tracked.forget(&self.grants);
            core.tracked.hold(&grants);
        }
        let (inner, namespace, under) = (self.inner.clone(), self.namespace.clone(), self.under.clone());
        Self { inner, namespace, grants, under, done: false }
    }

    /// Stops keeping it; whoever calls this releases it.
    pub(crate) fn abandon(&mut self) {
        self.done = true;
        self.stop_keeping();
    }

    fn stop_keeping(&self) {
        match &self.under {
            KeptBy::Keeper(key, looking) => {
                self.inner.keeper.forget(*key);
                looking.cancel();
            }
            KeptBy::Session(core) => core.tracked.forget(&self.grants),
        }
    }

    /// Gives all of it back and waits for the answer. Goes on in the background if the future is dropped.
    pub(crate) async fn release(mut self) -> Result<Vec<ReleasedLock>, Error> {
        self.abandon();
        let (answer, answered) = oneshot::channel();
        let (inner, namespace, grants) = (self.inner.clone(), self.namespace.clone(), self.grants.clone());
        self.inner.spawner.spawn_errand(async move {
            let result = inner.release_grants(&namespace, &grants.grants, inner.call_deadline()).await;
            // Nobody may be waiting any more.
            let _ = answer.send(result);
        });
        answered.await.unwrap_or(Err(Error::Closed))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        self.stop_keeping();
        self.inner.release_later(std::mem::take(&mut self.namespace), self.grants.releasable());
    }
}

/// Tells of single locks that were lost while their lease lives on.
async fn look_when_in_doubt(inner: Arc<Inner>, namespace: String, grants: Arc<HeldGrants>, stop: CancellationToken) {
    let looking = async {
        loop {
            grants.lease.in_doubt.notified().await;
            for grant in &grants.grants {
                if let Some(loss) = inner.look_for_loss(&namespace, &grant.name, grant.token).await {
                    grants.lose(grant.token, loss);
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = grants.lease.lost().cancelled() => {}
        () = looking => {}
    }
}
