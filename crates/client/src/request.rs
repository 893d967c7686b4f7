//! One acquire request: its id, its attempts, and the promise to take back what nobody waits for any more.

use std::sync::Arc;
use std::time::Duration;

use leasehold_proto::v1::answer::Answer;
use leasehold_proto::v1::{self, operation::Operation};
use tokio::sync::watch;

use crate::clock::Moment;
use crate::error::Error;
use crate::ids::{SessionId, Token};
use crate::inner::{ERRAND_MAX, Inner};
use crate::mode::LockSpec;

/// What to acquire.
#[derive(Debug, Clone)]
pub(crate) struct AcquireSpec {
    pub(crate) namespace: String,
    pub(crate) locks: Vec<LockSpec>,
    pub(crate) owner: String,
    pub(crate) metadata: String,
    pub(crate) lease: LeaseSpec,
    pub(crate) actor: String,
    pub(crate) lock_delay_ms: u64,
    pub(crate) value: Vec<u8>,
}

/// What the grants are to hang on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseSpec {
    /// A lease of their own.
    Own { ttl_ms: u64 },
    /// A session.
    Session(SessionId),
    /// The lease of the grant that is converted.
    Convert(Token),
}

impl AcquireSpec {
    /// The names, for messages.
    pub(crate) fn names(&self) -> String {
        self.locks.iter().map(|lock| lock.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// What became of a request that was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CancelledAs {
    /// Nothing is left of it.
    Gone,
    /// It is a convert that had been granted, and stays: the lock is held under this token now.
    Kept(Token),
}

/// Where a convert stands that nobody waits for any more. Its lock is held either way: under which token?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing is under way.
    Settled,
    /// It is being cancelled.
    Cancelling,
    /// It was cancelled.
    Cancelled(CancelledAs),
}

/// Tells the fate of a convert whose request was dropped. While anybody listens the cancel is repeated.
pub(crate) type FateSender = Arc<watch::Sender<Fate>>;

/// A request id in use. Dropped unsettled, it cancels whatever the request did or may still do.
#[derive(Debug)]
pub(crate) struct Request {
    inner: Arc<Inner>,
    counter: u64,
    attempt: u32,
    first_sent: Option<Moment>,
    settled: bool,
    fate: Option<FateSender>,
}

impl Request {
    pub(crate) fn new(inner: &Arc<Inner>, fate: Option<FateSender>) -> Result<Self, Error> {
        let counter = inner.instance.begin()?;
        Ok(Self { inner: inner.clone(), counter, attempt: 0, first_sent: None, settled: false, fate })
    }

    /// The next send of this id: counts the attempt and notes the first one's time.
    pub(crate) fn next_send(&mut self, spec: &AcquireSpec, wait_ms: Option<u64>) -> Operation {
        self.attempt = self.attempt.saturating_add(1);
        self.first_sent.get_or_insert(self.inner.clock.now());
        let (ttl_ms, session, replaces) = match spec.lease {
            LeaseSpec::Own { ttl_ms } => (ttl_ms, String::new(), 0),
            LeaseSpec::Session(session) => (0, session.to_string(), 0),
            LeaseSpec::Convert(token) => (0, String::new(), token.0),
        };
        Operation::Acquire(v1::AcquireRequest {
            namespace: spec.namespace.clone(),
            locks: spec.locks.iter().map(LockSpec::to_wire).collect(),
            owner: spec.owner.clone(),
            ttl_ms,
            wait_ms,
            request_id: Some(self.inner.instance.request_id(self.counter)),
            attempt: self.attempt,
            lowest_unanswered: self.inner.instance.lowest_unanswered(),
            metadata: spec.metadata.clone(),
            session,
            replaces,
            actor: spec.actor.clone(),
            lock_delay_ms: spec.lock_delay_ms,
            value: spec.value.clone(),
        })
    }

    /// When the id was first sent: what a lease of its own is counted from.
    pub(crate) fn first_sent(&self) -> Option<Moment> {
        self.first_sent
    }

    /// The outcome is known and wanted: nothing is to be cancelled.
    pub(crate) fn settle(mut self) {
        self.settled = true;
    }

    /// Leaves the queue, or gives up the grant that raced this. An error leaves it to the background.
    pub(crate) async fn cancel(mut self, bound: Duration) -> Result<CancelledAs, Error> {
        let deadline = self.inner.clock.now().after(bound);
        let cancelled = cancel(&self.inner, self.counter, self.attempt, deadline).await?;
        self.settled = true;
        Ok(cancelled)
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if self.settled || self.first_sent.is_none() {
            self.inner.instance.answered(self.counter);
            return;
        }
        let (inner, counter, attempt, fate) = (self.inner.clone(), self.counter, self.attempt, self.fate.take());
        if let Some(fate) = &fate {
            fate.send_replace(Fate::Cancelling);
        }
        self.inner.spawner.spawn_errand(async move {
            loop {
                let deadline = inner.clock.now().after(ERRAND_MAX);
                match cancel(&inner, counter, attempt, deadline).await {
                    Ok(cancelled) => {
                        if let Some(fate) = &fate {
                            fate.send_replace(Fate::Cancelled(cancelled));
                        }
                    }
                    Err(error) => {
                        let awaited = fate.as_ref().is_some_and(|fate| fate.receiver_count() > 0);
                        if awaited && error.is_retryable() {
                            continue;
                        }
                        tracing::warn!(%error, "an acquire was not cancelled, its grant runs out by itself");
                    }
                }
                break;
            }
            // From here on the mark of the lowest unanswered counter refuses what may still be under way.
            inner.instance.answered(counter);
        });
    }
}

async fn cancel(inner: &Inner, counter: u64, attempt: u32, deadline: Moment) -> Result<CancelledAs, Error> {
    let request_id = Some(inner.instance.request_id(counter));
    let reply = inner.call(Operation::Cancel(v1::CancelAcquireRequest { request_id, attempt }), deadline).await?;
    match reply.answer {
        Answer::Cancel(v1::CancelAcquireResponse { kept_token: 0, .. }) => Ok(CancelledAs::Gone),
        Answer::Cancel(v1::CancelAcquireResponse { kept_token, .. }) => Ok(CancelledAs::Kept(Token(kept_token))),
        other => Err(Error::unexpected(&other)),
    }
}
