//! Sessions: one keep-alive for many locks, which live and die together.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

mod builder;
mod core;
mod default;
mod tracked;
mod watcher;

pub use self::builder::SessionBuilder;
pub(crate) use self::core::{SessionCore, SessionSpec};
pub(crate) use self::default::DefaultSession;
pub(crate) use self::tracked::Asking;
use crate::builder::LockBuilder;
use crate::client::ClientCore;
use crate::draft::{Draft, Under};
use crate::error::Error;
use crate::guard::left_at_most;
use crate::ids::SessionId;
use crate::loss::Loss;
use crate::mode::LockSpec;
use crate::set_builder::LockSetBuilder;
use crate::types::LeaseClosed;

/// A session that this client keeps alive, on whatever node answers, until it is closed, lost, or its last handle and guard
/// have gone. Cheap to clone.
///
/// Its deadline is counted from the send of its keep-alives, by the client's own clock: when the cluster is out of reach,
/// every guard hears of the loss before the cluster gives the locks to anybody else.
#[derive(Clone)]
pub struct Session {
    shared: Arc<ClientCore>,
    core: Arc<SessionCore>,
}

impl Session {
    pub(crate) fn new(shared: Arc<ClientCore>, core: Arc<SessionCore>) -> Self {
        Self { shared, core }
    }

    /// Its id: knowing it is the right to use the session.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.core.id
    }

    /// Its time to live between keep-alives.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.core.lease().ttl
    }

    /// Starts an acquire of the lock `name` under this session.
    pub fn lock(&self, name: impl Into<String>) -> LockBuilder {
        LockBuilder::new(self.draft(vec![LockSpec::exclusive(name)]))
    }

    /// Starts an acquire of several locks at once, all or nothing, under this session.
    pub fn locks<I>(&self, locks: I) -> LockSetBuilder
    where
        I: IntoIterator,
        I::Item: Into<LockSpec>,
    {
        LockSetBuilder::new(self.draft(locks.into_iter().map(Into::into).collect()))
    }

    fn draft(&self, locks: Vec<LockSpec>) -> Draft {
        Draft::new(self.shared.clone(), Under::Session(self.core.clone()), locks)
    }

    /// Whether it still runs by this client's clock, and nobody has said otherwise. Looks at the clock itself.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.core.is_alive()
    }

    /// How long it is safe to count on if no keep-alive succeeds any more. Zero once it is lost.
    #[must_use]
    pub fn deadline_left(&self) -> Duration {
        if self.is_alive() { self.core.inner.left_until(self.core.lease().deadline()) } else { Duration::ZERO }
    }

    /// Why it was lost, if it was.
    #[must_use]
    pub fn loss(&self) -> Option<Loss> {
        self.core.loss()
    }

    /// Resolves when it is lost, with the reason.
    pub async fn lost(&self) -> Loss {
        self.core.until_lost().await
    }

    /// Resolves when at most `margin` is left, or it is lost.
    pub async fn left_at_most(&self, margin: Duration) {
        left_at_most(margin, self.core.lease().lost(), || self.deadline_left()).await;
    }

    /// A token that is cancelled when the session is lost.
    #[must_use]
    pub fn cancellation_token(&self) -> CancellationToken {
        self.core.lease().lost().child_token()
    }

    /// Ends the session, whoever else has a handle of it: every lock under it is given back. Its guards are lost
    /// ([`Loss::Closed`]) before that is sent. Tried for the client's `call_timeout`; goes on in the background if the future
    /// is dropped.
    pub async fn close(self) -> Result<LeaseClosed, Error> {
        self.core.close(self.core.inner.options.call_timeout).await
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.core.id).field("loss", &self.loss()).finish()
    }
}
