//! One acquire request: its id, its attempts, and the promise to take back what nobody waits for any more.

use std::sync::Arc;
use std::time::Duration;

use leasehold_proto::v1::answer::Answer;
use leasehold_proto::v1::{self, operation::Operation};

use crate::clock::Moment;
use crate::error::Error;
use crate::inner::{ERRAND_MAX, Inner};

/// What to acquire.
#[derive(Debug, Clone)]
pub(crate) struct AcquireSpec {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) owner: String,
    pub(crate) ttl_ms: u64,
    pub(crate) metadata: String,
}

/// A request id in use. Dropped unsettled, it cancels whatever the request did or may still do.
#[derive(Debug)]
pub(crate) struct Request {
    inner: Arc<Inner>,
    counter: u64,
    attempt: u32,
    first_sent: Option<Moment>,
    settled: bool,
}

impl Request {
    pub(crate) fn new(inner: &Arc<Inner>) -> Result<Self, Error> {
        let counter = inner.instance.begin()?;
        Ok(Self { inner: inner.clone(), counter, attempt: 0, first_sent: None, settled: false })
    }

    /// The next send of this id: counts the attempt and notes the first one's time.
    pub(crate) fn next_send(&mut self, spec: &AcquireSpec, wait_ms: Option<u64>) -> Operation {
        self.attempt = self.attempt.saturating_add(1);
        self.first_sent.get_or_insert(self.inner.clock.now());
        let lock = v1::LockRequest { name: spec.name.clone(), ..Default::default() };
        Operation::Acquire(v1::AcquireRequest {
            namespace: spec.namespace.clone(),
            locks: vec![lock],
            owner: spec.owner.clone(),
            ttl_ms: spec.ttl_ms,
            wait_ms,
            request_id: Some(self.inner.instance.request_id(self.counter)),
            attempt: self.attempt,
            lowest_unanswered: self.inner.instance.lowest_unanswered(),
            metadata: spec.metadata.clone(),
        })
    }

    /// When the id was first sent: what the lease is counted from.
    pub(crate) fn first_sent(&self) -> Option<Moment> {
        self.first_sent
    }

    /// The outcome is known and wanted: nothing is to be cancelled.
    pub(crate) fn settle(mut self) {
        self.settled = true;
    }

    /// Leaves the queue, or gives up the grant that raced this. An error leaves it to the background.
    pub(crate) async fn cancel(mut self, bound: Duration) -> Result<(), Error> {
        let deadline = self.inner.clock.now().after(bound);
        cancel(&self.inner, self.counter, self.attempt, deadline).await?;
        self.settled = true;
        Ok(())
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if self.settled || self.first_sent.is_none() {
            self.inner.instance.answered(self.counter);
            return;
        }
        let (inner, counter, attempt) = (self.inner.clone(), self.counter, self.attempt);
        self.inner.spawner.spawn_errand(async move {
            let deadline = inner.clock.now().after(ERRAND_MAX);
            if let Err(error) = cancel(&inner, counter, attempt, deadline).await {
                tracing::warn!(%error, "an acquire was not cancelled, its grant runs out by itself");
            }
            // From here on the mark of the lowest unanswered counter refuses what may still be under way.
            inner.instance.answered(counter);
        });
    }
}

async fn cancel(inner: &Inner, counter: u64, attempt: u32, deadline: Moment) -> Result<(), Error> {
    let request_id = Some(inner.instance.request_id(counter));
    let reply = inner.call(Operation::Cancel(v1::CancelAcquireRequest { request_id, attempt }), deadline).await?;
    match reply.answer {
        Answer::Cancel(_) => Ok(()),
        other => Err(Error::unexpected(&other)),
    }
}
