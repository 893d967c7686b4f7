//! What all handles of one client share.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use leasehold_proto::v1::answer::Answer;
use leasehold_proto::v1::{self, operation::Operation};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::clock::{Clock, Moment};
use crate::endpoints::Endpoints;
use crate::error::Error;
use crate::ids::{LeaseId, Token};
use crate::instance::Instance;
use crate::keeper::Keeper;
use crate::loss::{Loss, remembered};
use crate::mode::GrantInfo;
use crate::options::ClientOptions;
use crate::runtime::{Spawner, sleep};
use crate::types::{LeaseClosed, Released, ReleasedLock, ValueSet};

/// How long a release or a cancel that nobody waits for is tried.
pub(crate) const ERRAND_MAX: Duration = Duration::from_secs(60);

/// Lives until the last client, session, guard, watch and errand has gone.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) options: ClientOptions,
    pub(crate) clock: Clock,
    pub(crate) spawner: Spawner,
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) instance: Instance,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) stop: CancellationToken,
}

/// What a renewal found.
#[derive(Debug)]
pub(crate) enum Renewal {
    /// The lease lives until then at least, by our clock.
    Alive { deadline: Moment, ttl: Duration },
    /// The lease has ended.
    Gone(v1::LossReason),
}

/// A renewal of one lease; `ttl_ms` 0 keeps the one that it has.
pub(crate) fn renewal_of(lease: &LeaseId, ttl_ms: u64) -> v1::RenewLease {
    v1::RenewLease { lease: lease.0.clone(), ttl_ms, exact_for_token: 0 }
}

impl Inner {
    pub(crate) fn start(options: ClientOptions) -> Arc<Self> {
        Self::over(options, Endpoints::start)
    }

    /// Over endpoints that `connect` makes.
    pub(crate) fn over(
        options: ClientOptions,
        connect: impl FnOnce(&ClientOptions, &Spawner, &CancellationToken) -> Arc<Endpoints>,
    ) -> Arc<Self> {
        let stop = CancellationToken::new();
        let spawner = Spawner::current();
        let endpoints = connect(&options, &spawner, &stop);
        let keeper = Keeper::start(&options, endpoints.clone(), &spawner, &stop);
        let clock = options.clock.clone();
        Arc::new(Self { options, clock, spawner, endpoints, instance: Instance::new(), keeper, stop })
    }

    pub(crate) fn left_until(&self, deadline: Moment) -> Duration {
        deadline.since(self.clock.now())
    }

    /// The deadline of a call that starts now.
    pub(crate) fn call_deadline(&self) -> Moment {
        self.clock.now().after(self.options.call_timeout)
    }

    pub(crate) async fn renew(&self, lease: &LeaseId, ttl_ms: u64, deadline: Moment) -> Result<Renewal, Error> {
        let request = v1::RenewRequest { leases: vec![renewal_of(lease, ttl_ms)], all_or_nothing: false };
        let reply = self.call(Operation::Renew(request), deadline).await?;
        let Answer::Renew(answer) = &reply.answer else { return Err(Error::unexpected(&reply.answer)) };
        let [renewed] = answer.leases.as_slice() else { return Err(Error::unexpected(&reply.answer)) };
        if !renewed.alive {
            return Ok(Renewal::Gone(renewed.reason()));
        }
        let ttl = Duration::from_millis(renewed.ttl_ms);
        Ok(Renewal::Alive { deadline: reply.sent.after(self.options.safe_span(ttl)), ttl })
    }

    pub(crate) async fn release(
        &self,
        namespace: &str,
        name: &str,
        token: Token,
        deadline: Moment,
    ) -> Result<Released, Error> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let request = v1::ReleaseRequest { namespace, name, token: token.0, ..Default::default() };
        let reply = self.call(Operation::Release(request), deadline).await?;
        let Answer::Release(answer) = &reply.answer else { return Err(Error::unexpected(&reply.answer)) };
        let (released, reason) = release_found(answer.released, answer.reason(), reply.earlier_in_doubt);
        Ok(Released { released, reason })
    }

    /// Releases several at once, one after the other or all or nothing.
    pub(crate) async fn release_all(
        &self,
        namespace: &str,
        locks: &[(String, Token)],
        all_or_nothing: bool,
        deadline: Moment,
    ) -> Result<Vec<ReleasedLock>, Error> {
        let held = |(name, token): &(String, Token)| v1::HeldLock { name: name.clone(), token: token.0 };
        let request = v1::ReleaseRequest {
            namespace: namespace.to_owned(),
            locks: locks.iter().map(held).collect(),
            all_or_nothing,
            ..Default::default()
        };
        let reply = self.call(Operation::Release(request), deadline).await?;
        let Answer::Release(answer) = &reply.answer else { return Err(Error::unexpected(&reply.answer)) };
        if answer.locks.len() != locks.len() {
            return Err(Error::unexpected(&reply.answer));
        }
        let found = |((name, token), answer): (&(String, Token), &v1::ReleasedLock)| {
            let (released, reason) = release_found(answer.released, answer.reason(), reply.earlier_in_doubt);
            ReleasedLock { name: name.clone(), token: *token, released, reason, still_held: answer.still_held }
        };
        Ok(locks.iter().zip(&answer.locks).map(found).collect())
    }

    /// Releases in the background, as long as it may still matter.
    pub(crate) fn release_later(self: &Arc<Self>, namespace: String, grants: Vec<GrantInfo>) {
        if grants.is_empty() {
            return;
        }
        let inner = self.clone();
        self.spawner.spawn_errand(async move {
            let deadline = inner.clock.now().after(ERRAND_MAX);
            if let Err(error) = inner.release_grants(&namespace, &grants, deadline).await {
                tracing::warn!(?grants, %error, "locks were not released, they run out by themselves");
            }
        });
    }

    /// Releases what one acquire was granted, each for itself.
    pub(crate) async fn release_grants(
        &self,
        namespace: &str,
        grants: &[GrantInfo],
        deadline: Moment,
    ) -> Result<Vec<ReleasedLock>, Error> {
        if let [GrantInfo { name, token, .. }] = grants {
            let Released { released, reason } = self.release(namespace, name, *token, deadline).await?;
            let name = name.clone();
            return Ok(vec![ReleasedLock { name, token: *token, released, reason, still_held: false }]);
        }
        let locks: Vec<_> = grants.iter().map(|grant| (grant.name.clone(), grant.token)).collect();
        self.release_all(namespace, &locks, false, deadline).await
    }

    pub(crate) async fn close_lease(&self, lease: &LeaseId, deadline: Moment) -> Result<LeaseClosed, Error> {
        let request = v1::CloseLeaseRequest { lease: lease.0.clone() };
        let reply = self.call(Operation::CloseLease(request), deadline).await?;
        match reply.answer {
            // An earlier send of ours, answered to nobody, may be what closed it.
            Answer::CloseLease(answer) => {
                Ok(LeaseClosed { closed: answer.closed || reply.earlier_in_doubt, grants_ended: answer.grants_ended })
            }
            other => Err(Error::unexpected(&other)),
        }
    }

    /// Opens a session; what is left of it, and until when that can be counted on.
    pub(crate) async fn open_session(
        &self,
        request: v1::OpenSessionRequest,
        deadline: Moment,
    ) -> Result<(Duration, Moment), Error> {
        let reply = self.call(Operation::OpenSession(request), deadline).await?;
        match reply.answer {
            Answer::OpenSession(answer) => {
                let ttl = Duration::from_millis(answer.ttl_ms);
                Ok((ttl, reply.sent.after(self.options.safe_span(ttl))))
            }
            other => Err(Error::unexpected(&other)),
        }
    }

    pub(crate) async fn get_session(&self, session: &LeaseId) -> Result<v1::GetSessionResponse, Error> {
        let request = v1::GetSessionRequest { session: session.0.clone(), stale: false };
        let reply = self.call(Operation::GetSession(request), self.call_deadline()).await?;
        match reply.answer {
            Answer::GetSession(answer) => Ok(answer),
            other => Err(Error::unexpected(&other)),
        }
    }

    pub(crate) async fn get(&self, namespace: &str, name: &str) -> Result<v1::LockInfo, Error> {
        let request = v1::GetRequest { namespace: namespace.to_owned(), name: name.to_owned(), stale: false };
        let reply = self.call(Operation::Get(request), self.call_deadline()).await?;
        match reply.answer {
            Answer::Get(v1::GetResponse { lock: Some(lock) }) => Ok(lock),
            other => Err(Error::unexpected(&other)),
        }
    }

    pub(crate) async fn check_token(
        &self,
        namespace: &str,
        name: &str,
        token: Token,
    ) -> Result<v1::CheckTokenResponse, Error> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let request = v1::CheckTokenRequest { namespace, name, token: token.0, stale: false };
        let reply = self.call(Operation::CheckToken(request), self.call_deadline()).await?;
        match reply.answer {
            Answer::CheckToken(answer) => Ok(answer),
            other => Err(Error::unexpected(&other)),
        }
    }

    /// How a grant was lost, if it was. Asks until there is an answer: the holder's own clock is what bounds it.
    pub(crate) async fn look_for_loss(&self, namespace: &str, name: &str, token: Token) -> Option<Loss> {
        let checked = Self::persist(|| self.check_token(namespace, name, token)).await;
        if checked.current {
            return None;
        }
        let lost = checked.loss.filter(|loss| loss.token == token.0).unwrap_or_default();
        Some(Loss::of_grant(lost.reason(), &lost.note))
    }

    /// Asks until there is an answer.
    pub(crate) async fn persist<T, F>(ask: impl Fn() -> F) -> T
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut backoff = Backoff::new();
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(error) => tracing::debug!(%error, "a read is tried again"),
            }
            sleep(backoff.step()).await;
        }
    }

    pub(crate) async fn set_value(
        &self,
        namespace: &str,
        name: &str,
        token: Token,
        version: u64,
        value: Vec<u8>,
    ) -> Result<ValueSet, Error> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let request = v1::SetValueRequest { namespace, name, token: token.0, version, value };
        let reply = self.call(Operation::SetValue(request), self.call_deadline()).await?;
        match reply.answer {
            Answer::SetValue(answer) => Ok(answer.into()),
            other => Err(Error::unexpected(&other)),
        }
    }
}

/// An earlier send of ours, answered to nobody, is what released it.
fn release_found(released: bool, reason: v1::LossReason, in_doubt: bool) -> (bool, Option<v1::LossReason>) {
    let by_us = in_doubt && reason == v1::LossReason::Released;
    (released || by_us, if released || by_us { None } else { remembered(reason) })
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
