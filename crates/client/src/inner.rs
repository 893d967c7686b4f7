//! What all handles of one client share.

use std::sync::Arc;
use std::time::Duration;

use leasehold_proto::v1::answer::Answer;
use leasehold_proto::v1::{self, operation::Operation};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Moment};
use crate::endpoints::Endpoints;
use crate::error::Error;
use crate::guard::Released;
use crate::ids::{LeaseId, Token};
use crate::instance::Instance;
use crate::keeper::Keeper;
use crate::options::ClientOptions;
use crate::runtime::Spawner;

/// How long a release or a cancel that nobody waits for is tried.
pub(crate) const ERRAND_MAX: Duration = Duration::from_secs(60);

/// Lives until the last client, guard and errand has gone.
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

impl Inner {
    pub(crate) fn start(options: ClientOptions) -> Arc<Self> {
        let stop = CancellationToken::new();
        let spawner = Spawner::current();
        let endpoints = Endpoints::start(&options, &spawner, &stop);
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
        let leases = vec![v1::RenewLease { lease: lease.0.clone(), ttl_ms }];
        let reply = self.call(Operation::Renew(v1::RenewRequest { leases }), deadline).await?;
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
        let request = v1::ReleaseRequest { namespace: namespace.to_owned(), name: name.to_owned(), token: token.0 };
        let reply = self.call(Operation::Release(request), deadline).await?;
        let Answer::Release(answer) = &reply.answer else { return Err(Error::unexpected(&reply.answer)) };
        let reason = answer.reason();
        // An earlier send of ours, answered to nobody, is what released it.
        let by_us = reply.earlier_in_doubt && reason == v1::LossReason::Released;
        let reason = (reason != v1::LossReason::Unspecified && !answer.released).then_some(reason);
        Ok(Released { released: answer.released || by_us, reason: if by_us { None } else { reason } })
    }

    /// Releases in the background, as long as it may still matter.
    pub(crate) fn release_later(self: &Arc<Self>, namespace: String, name: String, token: Token) {
        let inner = self.clone();
        self.spawner.spawn_errand(async move {
            let deadline = inner.clock.now().after(ERRAND_MAX);
            if let Err(error) = inner.release(&namespace, &name, token, deadline).await {
                tracing::warn!(name, %token, %error, "a lock was not released, it runs out by itself");
            }
        });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
