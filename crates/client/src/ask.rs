//! Asking for a lock: send, wait in the queue without polling, follow failover, confirm what came late.

use std::sync::Arc;
use std::time::Duration;

use leasehold_proto::v1::acquire_response;
use leasehold_proto::v1::{self, answer::Answer};

use crate::acquire::{Obtained, Wait};
use crate::call::{RESEND_AFTER, Troubles, millis};
use crate::clock::Moment;
use crate::error::{Error, Verdict};
use crate::ids::LeaseId;
use crate::inner::{Inner, Renewal};
use crate::mode::GrantInfo;
use crate::request::{AcquireSpec, CancelledAs, LeaseSpec, Request};
use crate::runtime::{sleep, within};
use crate::stream::{Broken, Stream};
use crate::types::Acquired;

/// One attempt waits in the queue at most this long (the cluster's `wait_max`).
const WAIT_SLICE: Duration = Duration::from_secs(30);
/// A longer wait sends its next attempt this long into the slice, while it still has its place in the queue.
const REARM_AFTER: Duration = Duration::from_secs(20);
/// The node's own answer that a wait has ended is given this much time beyond the caller's, then the client cancels.
const WAIT_END_GRACE: Duration = Duration::from_millis(100);
/// How long that cancel is waited for before the caller is told that its request's fate is unknown.
const CANCEL_BOUND: Duration = Duration::from_secs(1);
/// An attempt that was under way for so long before its stream broke ended earlier troubles: pings were answered.
const ALIVE_AFTER: Duration = Duration::from_secs(3);
/// The same for one that a node answered "unavailable": longer than nodes hold a call without a leader.
const STEADY_AFTER: Duration = Duration::from_secs(10);
/// Reasons of an "unavailable" that say that the request never reached the log. A node that stops or loses its leader
/// ends the waits that it holds with others, and leaves them in the queue.
const NOTHING_DONE: [&str; 4] = ["NO_LEADER", "BUSY", "NOT_READY", "NOT_FOUNDED"];

/// What asking came to.
pub(crate) enum Asked {
    Granted(v1::Granted),
    /// Without a grant.
    Answered(Obtained),
    /// The caller's time is up and the node has not said anything.
    GiveUp,
}

/// One acquire, until it is answered: waits without polling, follows failover, confirms what came late.
pub(crate) struct Ask<'a> {
    inner: &'a Arc<Inner>,
    spec: &'a AcquireSpec,
    wait: Wait,
    give_up: Option<Moment>,
    /// Whether anything was sent yet, under any id.
    asked: bool,
    troubles: Troubles,
    /// Since when nothing has worked: a wait survives that for `call_timeout`.
    trouble_since: Moment,
}

impl<'a> Ask<'a> {
    pub(crate) fn new(inner: &'a Arc<Inner>, spec: &'a AcquireSpec, wait: Wait, give_up: Option<Moment>) -> Self {
        let trouble_since = inner.clock.now();
        Self { inner, spec, wait, give_up, asked: false, troubles: Troubles::new(true), trouble_since }
    }

    /// Whether something of it may have happened that nobody knows of.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.troubles.in_doubt
    }

    /// Sends attempts of one request id until one is answered.
    pub(crate) async fn until_answered(&mut self, request: &mut Request) -> Result<Asked, Error> {
        let mut patience = RESEND_AFTER;
        loop {
            let now = self.inner.clock.now();
            if self.asked && self.give_up.is_some_and(|end| now >= end) {
                return match (self.troubles.avoid, request.first_sent()) {
                    (Some(_), _) => Err(self.out_of_time()),
                    (None, Some(_)) => Ok(Asked::GiveUp),
                    (None, None) => Ok(Asked::Answered(Obtained::TimedOut)),
                };
            }
            let stream = self.stream(now).await?;
            let sent = self.inner.clock.now();
            let wait_ms = self.wait_ms(sent);
            let operation = request.next_send(self.spec, wait_ms);
            self.asked = true;
            let limit = self.attempt_limit(sent, patience);
            // A node that cannot do it says so before this client loses patience: then nothing is in doubt.
            let timeout_ms = match self.wait {
                Wait::Try => millis(limit),
                _ => millis(self.outage_end().since(sent)),
            };
            let pause = match within(limit, stream.call(operation, timeout_ms)).await {
                Some(Ok(answer)) => match self.answered(answer, stream.endpoint, sent)? {
                    Next::Done(asked) => return Ok(asked),
                    Next::After(pause) => pause,
                },
                Some(Err(broken)) => {
                    self.failed(sent, ALIVE_AFTER);
                    let text = self.inner.broken_text(stream.endpoint);
                    self.troubles.note(stream.endpoint, broken == Broken::Ended, text)
                }
                None if wait_ms.is_some() => {
                    // Time to re-arm, or the caller's time is up: the stream is alive, there is no trouble. But from
                    // now on the request may have its place in the queue, whatever the next attempt is told.
                    self.troubles.recovered();
                    self.troubles.in_doubt = true;
                    self.trouble_since = self.inner.clock.now();
                    Duration::ZERO
                }
                None => {
                    self.inner.endpoints.demote(stream.endpoint);
                    patience *= 2;
                    let text = self.inner.silence_text(stream.endpoint);
                    self.troubles.note(stream.endpoint, true, text);
                    Duration::ZERO
                }
            };
            sleep(pause).await;
        }
    }

    /// A live stream, within the caller's time and the bound on outages.
    async fn stream(&self, now: Moment) -> Result<Arc<Stream>, Error> {
        let end = self.give_up.map_or(self.outage_end(), |end| end.min(self.outage_end()));
        let left = end.since(now);
        // A wait of no length is sent all the same: the node says what is wrong with it.
        let bound = if self.asked { left } else { left.max(Duration::from_millis(1)) };
        if bound.is_zero() {
            return Err(self.out_of_time());
        }
        let stream = tokio::select! {
            biased;
            () = self.inner.stop.cancelled() => None,
            stream = self.inner.endpoints.stream(self.troubles.avoid, bound) => stream,
        };
        stream.ok_or_else(|| self.out_of_time())
    }

    fn outage_end(&self) -> Moment {
        self.trouble_since.after(self.inner.options.call_timeout)
    }

    fn out_of_time(&self) -> Error {
        self.troubles.out_of_time(self.inner)
    }

    /// How long this attempt asks to wait in the queue. Rounded up: zero only if the caller said so.
    fn wait_ms(&self, sent: Moment) -> Option<u64> {
        match (self.wait, self.give_up) {
            (Wait::Try, _) => None,
            (Wait::For(Duration::ZERO), _) => Some(0),
            (_, None) => Some(millis(WAIT_SLICE)),
            (_, Some(end)) => Some(millis(end.since(sent).min(WAIT_SLICE))),
        }
    }

    /// How long this attempt is waited for before something else is done.
    fn attempt_limit(&self, sent: Moment, patience: Duration) -> Duration {
        match (self.wait, self.give_up) {
            (Wait::Try, _) => patience.min(self.outage_end().since(sent)),
            (_, Some(end)) if end.since(sent) <= WAIT_SLICE => end.since(sent) + WAIT_END_GRACE,
            _ => REARM_AFTER,
        }
    }

    /// An attempt has failed: since when is there trouble?
    fn failed(&mut self, sent: Moment, steady_after: Duration) {
        let now = self.inner.clock.now();
        if self.wait == Wait::Try {
            return;
        }
        if now.since(sent) >= steady_after {
            self.troubles.recovered();
            self.trouble_since = now;
        } else if self.troubles.avoid.is_none() {
            self.trouble_since = sent;
        }
    }

    fn answered(&mut self, answer: Answer, endpoint: usize, sent: Moment) -> Result<Next, Error> {
        let result = match answer {
            Answer::Acquire(v1::AcquireResponse { result: Some(result) }) => result,
            Answer::Error(error) => return self.refused(error, endpoint, sent),
            other => return Err(Error::unexpected(&other)),
        };
        self.troubles.recovered();
        Ok(match result {
            acquire_response::Result::Granted(granted) => Next::Done(Asked::Granted(granted)),
            acquire_response::Result::Held(held) => Next::Done(Asked::Answered(Obtained::Held(held.into()))),
            acquire_response::Result::Deadlock(deadlock) => {
                Next::Done(Asked::Answered(Obtained::Deadlock(deadlock.into())))
            }
            acquire_response::Result::Ended(ended) => Next::Done(Asked::Answered(Obtained::Ended(ended.reason()))),
            acquire_response::Result::WaitEnded(_) => {
                let now = self.inner.clock.now();
                self.trouble_since = now;
                // The node rounds down: what is left of less than a millisecond is no reason to ask again.
                let left = self.give_up.map_or(WAIT_SLICE, |end| end.since(now));
                if left < Duration::from_millis(2) {
                    Next::Done(Asked::Answered(Obtained::TimedOut))
                } else {
                    Next::After(Duration::ZERO)
                }
            }
        })
    }

    fn refused(&mut self, error: v1::Error, endpoint: usize, sent: Moment) -> Result<Next, Error> {
        let may_be_queued = self.wait != Wait::Try && !NOTHING_DONE.contains(&error.reason.as_str());
        match Verdict::from(error) {
            Verdict::Final(error) => Err(error),
            Verdict::Again { may_have_happened, after, message } => {
                self.failed(sent, STEADY_AFTER);
                self.inner.endpoints.demote(endpoint);
                let in_doubt = may_have_happened || may_be_queued;
                Ok(Next::After(self.troubles.note(endpoint, in_doubt, message).max(after)))
            }
        }
    }

    /// The caller's time is up: nothing is to be left of the request, but a convert that had been granted stays.
    pub(crate) async fn given_up(&self, request: Request) -> Result<Obtained, Error> {
        let sent = request.first_sent();
        let cancelled = request.cancel(CANCEL_BOUND).await.map_err(|error| Error::FateUnknown {
            message: format!("the wait was not confirmed as ended ({error})"),
        })?;
        match (cancelled, self.spec.locks.first()) {
            (CancelledAs::Kept(token), Some(lock)) => {
                let grant = GrantInfo { name: lock.name.clone(), mode: lock.mode, token };
                let deadline = sent.unwrap_or_else(|| self.inner.clock.now());
                // What is left of the lease was not told.
                let lease = LeaseId(String::new());
                Ok(Obtained::Acquired(Acquired::new(vec![grant], lease, Duration::ZERO, deadline)))
            }
            _ => Ok(Obtained::TimedOut),
        }
    }

    /// A grant whose time can be counted on.
    pub(crate) async fn confirmed(&self, request: &Request, granted: &v1::Granted) -> Result<Obtained, Error> {
        let inner = self.inner;
        let grants: Vec<GrantInfo> = granted.grants.iter().map(GrantInfo::from).collect();
        let asked = self.spec.locks.iter().map(|lock| &lock.name);
        if grants.is_empty() || !asked.eq(grants.iter().map(|grant| &grant.name)) {
            return Err(Error::Server { message: format!("asked for {}, granted {grants:?}", self.spec.names()) });
        }
        let lease = LeaseId(granted.lease.clone());
        let mut ttl = Duration::from_millis(granted.ttl_ms);
        let sent = request.first_sent().unwrap_or_else(|| inner.clock.now());
        let mut deadline = sent.after(inner.options.safe_span(ttl));
        // Nothing can be counted from the send of a wait; of a slow answer too little may be left.
        let too_little = match self.spec.lease {
            LeaseSpec::Own { ttl_ms } => inner.left_until(deadline) < Duration::from_millis(ttl_ms) / 2,
            LeaseSpec::Session(_) | LeaseSpec::Convert(_) => false,
        };
        if granted.confirm || too_little {
            match inner.renew(&lease, 0, inner.call_deadline()).await? {
                Renewal::Alive { deadline: later, ttl: left } => (deadline, ttl) = (later, left),
                Renewal::Gone(reason) => {
                    tracing::info!(names = self.spec.names(), ?reason, "a grant ended before it was confirmed");
                    return Ok(Obtained::Ended(reason));
                }
            }
        }
        Ok(Obtained::Acquired(Acquired::new(grants, lease, ttl, deadline)))
    }
}

enum Next {
    Done(Asked),
    After(Duration),
}
