//! The handle that programs hold.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use leasehold_proto::v1::Revision;
use parking_lot::Mutex;

use crate::actor::Actor;
use crate::builder::LockBuilder;
use crate::draft::{Draft, Under};
use crate::election::Election;
use crate::error::Error;
use crate::feed::Feed;
use crate::ids::SessionId;
use crate::inner::Inner;
use crate::mode::LockSpec;
use crate::options::ClientOptions;
use crate::raw::RawAcquire;
use crate::reentrant::{ReentrantLock, Reentries};
use crate::runtime::within;
use crate::session::{DefaultSession, Session, SessionBuilder, SessionCore};
use crate::set_builder::LockSetBuilder;
use crate::watch::{Watch, WatchTarget};

/// A connection to a cluster, and one session for all locks that name no other. Cheap to clone; the session is closed with
/// the last clone, guard and session handle, and everything else ends then too.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) shared: Arc<ClientCore>,
}

/// What all clones of a client share, and no guard keeps alive.
pub(crate) struct ClientCore {
    pub(crate) inner: Arc<Inner>,
    pub(crate) default: DefaultSession,
    pub(crate) reentries: Arc<Reentries>,
    /// To be closed by [`Client::shutdown`].
    sessions: Mutex<Vec<Weak<SessionCore>>>,
}

impl ClientCore {
    /// A session was opened by this client.
    pub(crate) fn remember(&self, core: &Arc<SessionCore>) {
        let mut sessions = self.sessions.lock();
        sessions.retain(|session| session.strong_count() > 0);
        sessions.push(Arc::downgrade(core));
    }
}

impl fmt::Debug for ClientCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCore").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

impl Client {
    /// Connects to all endpoints and returns when the first can be used, or `connect_timeout` has passed.
    pub async fn connect(options: ClientOptions) -> Result<Self, Error> {
        options.validate()?;
        let bound = options.connect_timeout;
        let inner = Inner::start(options);
        // A little longer than one attempt may take, so that its own words are told.
        if inner.endpoints.stream(None, bound + Duration::from_millis(50)).await.is_none() {
            return Err(Error::Unavailable { message: inner.endpoints.problems() });
        }
        Ok(Self::of(inner))
    }

    pub(crate) fn of(inner: Arc<Inner>) -> Self {
        let shared = ClientCore {
            inner,
            default: DefaultSession::default(),
            reentries: Arc::default(),
            sessions: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.shared.inner
    }

    /// The options that the client was made with.
    #[must_use]
    pub fn options(&self) -> &ClientOptions {
        &self.inner().options
    }

    /// Starts an acquire of the lock `name`: exclusive, and under the client's session, unless told otherwise.
    pub fn lock(&self, name: impl Into<String>) -> LockBuilder {
        LockBuilder::new(self.draft(vec![LockSpec::exclusive(name)]))
    }

    /// Starts an acquire of several locks at once, all or nothing, under the client's session unless told otherwise. Their
    /// modes may be mixed: see [`LockSpec`].
    pub fn locks<I>(&self, locks: I) -> LockSetBuilder
    where
        I: IntoIterator,
        I::Item: Into<LockSpec>,
    {
        LockSetBuilder::new(self.draft(locks.into_iter().map(Into::into).collect()))
    }

    /// Starts an acquire of one lock or several without a guard: nobody renews it, nobody gives it back.
    pub fn raw<I>(&self, locks: I) -> RawAcquire
    where
        I: IntoIterator,
        I::Item: Into<LockSpec>,
    {
        RawAcquire::new(self.shared.clone(), locks.into_iter().map(Into::into).collect())
    }

    fn draft(&self, locks: Vec<LockSpec>) -> Draft {
        Draft::new(self.shared.clone(), Under::Default, locks)
    }

    /// Starts the opening of a session beside the client's own one.
    pub fn session(&self) -> SessionBuilder {
        SessionBuilder::new(self.shared.clone())
    }

    /// The client's own session, opened if need be. Once it is lost, the next call opens a new one.
    pub async fn default_session(&self) -> Result<Session, Error> {
        let bound = self.options().call_timeout;
        let core = self.shared.default.get(&self.shared, bound).await?;
        Ok(Session::new(self.shared.clone(), core))
    }

    /// Keeps a session alive that somebody opened before, and whose id they passed on. It is not closed with its last
    /// handle here.
    pub async fn attach_session(&self, id: SessionId) -> Result<Session, Error> {
        let core = SessionCore::attach(self.inner(), id).await?;
        Ok(Session::new(self.shared.clone(), core))
    }

    /// A task of this name, for the search for deadlocks and for re-entrant locks.
    pub fn actor(&self, name: impl Into<String>) -> Actor {
        Actor::new(name)
    }

    /// A task whose name nobody else has.
    #[must_use]
    pub fn new_actor(&self) -> Actor {
        Actor::unique()
    }

    /// The lock `name`, as one that its holder within this process may take again.
    pub fn reentrant(&self, name: impl Into<String>) -> ReentrantLock {
        ReentrantLock::new(self.shared.clone(), name.into())
    }

    /// The election whose leader holds the lock `name`.
    pub fn election(&self, name: impl Into<String>) -> Election {
        Election::new(self.clone(), name.into())
    }

    /// Watches locks or a session, from now on: the first item says from where.
    pub fn watch(&self, target: WatchTarget) -> Watch {
        self.watch_from(&target, None)
    }

    /// The same, of everything after a revision, such as [`Watch::revision`] or the `revision` of a read: after a read that
    /// was true up to log index R, say `Revision { index: R, ordinal: u32::MAX }`. What is not remembered any more is told as
    /// a [`WatchItem::Gap`](crate::WatchItem::Gap).
    pub fn watch_after(&self, target: WatchTarget, after: Revision) -> Watch {
        self.watch_from(&target, Some(after))
    }

    fn watch_from(&self, target: &WatchTarget, after: Option<Revision>) -> Watch {
        let namespace = self.options().namespace.clone();
        Watch::new(Feed::new(self.inner().clone(), namespace, target.to_wire(), after))
    }

    /// Waits, up to `bound`, until the releases and cancels that nobody waits for have been answered. Says whether they
    /// have. Worth calling before a process ends.
    pub async fn settle(&self, bound: Duration) -> bool {
        within(bound, self.inner().spawner.errands_done()).await.is_some()
    }

    /// Ends the client in good order, within `bound`: closes every session that it opened, so that all their locks are
    /// given back at once, waits for what is under way in the background, and closes it. Guards are lost
    /// ([`Loss::Closed`](crate::Loss::Closed)) before their locks are given back. Says whether all of it was answered.
    pub async fn shutdown(&self, bound: Duration) -> bool {
        let inner = self.inner();
        let end = inner.clock.now().after(bound);
        self.shared.default.retire();
        let sessions = std::mem::take(&mut *self.shared.sessions.lock());
        let closing =
            sessions.iter().filter_map(Weak::upgrade).map(|core| async move { core.close(bound).await.is_ok() });
        let all = within(bound, futures_util::future::join_all(closing)).await;
        let settled = self.settle(inner.left_until(end)).await;
        self.close();
        settled && all.is_some_and(|answered| answered.into_iter().all(|ok| ok))
    }

    /// Closes the client at once: every guard is lost, every call ends. Locks run out by themselves unless given back before.
    pub fn close(&self) {
        self.inner().stop.cancel();
    }
}
