//! Cancels for acquires whose call broke off: sent in the background, repeated until answered, within a bound.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use leasehold_consensus::clock::{deadline_after, time_until};
use leasehold_consensus::{SubmitError, runtime};
use leasehold_state_machine::{Attempt, CancelAcquire, Operation, RequestId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::own_requests::OwnRequest;
use super::submit::Submit;

/// Cancels that wait to be sent. Past it they are dropped: the wait's deadline, or the lease, ends what they would have.
const QUEUED_MAX: usize = 65_536;
/// Cancels that are on their way at once.
const IN_FLIGHT_MAX: usize = 1_024;
/// Pause before a cancel is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Where broken calls leave their cancel. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Cancels(mpsc::Sender<Job>);

#[derive(Debug)]
struct Job {
    cancel: CancelAcquire,
    /// Keeps a made-up request id unanswered until its cancel is through: below the mark it would be refused.
    _own: Option<OwnRequest>,
}

impl Cancels {
    /// Starts the task that sends them; each attempt takes at most `round`, all of them together `total`.
    pub(crate) fn start<S: Submit>(node: S, round: Duration, total: Duration, stop: CancellationToken) -> Self {
        let (sender, jobs) = mpsc::channel(QUEUED_MAX);
        runtime::spawn(run(node, round, total, jobs, stop));
        Self(sender)
    }

    /// What cancels an acquire that breaks off from now on.
    pub(crate) fn guard(&self, request: RequestId, attempt: Attempt, own: Option<OwnRequest>) -> CancelGuard {
        CancelGuard { cancels: self.clone(), cancel: CancelAcquire { request, attempt }, own, armed: true }
    }
}

/// Cancels an acquire when dropped, unless [`CancelGuard::disarm`] came first: the answer was handed out, or there is nothing to
/// cancel.
#[derive(Debug)]
pub(crate) struct CancelGuard {
    cancels: Cancels,
    cancel: CancelAcquire,
    own: Option<OwnRequest>,
    armed: bool,
}

impl CancelGuard {
    pub(crate) fn disarm(mut self) {
        self.armed = false;
    }

    /// Cancels nothing from here on, and still keeps a made-up request id unanswered: the wait lives with its session.
    pub(crate) fn stand_down(&mut self) {
        self.armed = false;
    }

    /// Whether the node made the request id up: then nobody can ask again.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let job = Job { cancel: self.cancel, _own: self.own.take() };
        match self.cancels.0.try_send(job) {
            // Closed: the node stops, and its clients ask elsewhere.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(job)) => {
                warn!(request = %job.cancel.request, limit = QUEUED_MAX, "too many cancels wait, dropped one");
            }
        }
    }
}

async fn run<S: Submit>(
    node: S,
    round: Duration,
    total: Duration,
    mut jobs: mpsc::Receiver<Job>,
    stop: CancellationToken,
) {
    let mut in_flight = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            job = jobs.recv(), if in_flight.len() < IN_FLIGHT_MAX => match job {
                Some(job) => in_flight.push(cancel(node.clone(), job, round, total)),
                None => return,
            },
            Some(()) = in_flight.next() => {}
        }
    }
}

async fn cancel<S: Submit>(node: S, job: Job, round: Duration, total: Duration) {
    let end = deadline_after(total);
    loop {
        let deadline = deadline_after(round).min(end);
        let pause = match node.submit(Operation::CancelAcquire(job.cancel), deadline).await {
            // A cancel is of the first level, and small.
            Ok(_) | Err(SubmitError::Stopping | SubmitError::TooLarge { .. } | SubmitError::Level { .. }) => return,
            Err(SubmitError::NoLeader { retry_after }) => retry_after.max(RETRY_PAUSE),
            Err(SubmitError::Busy { .. } | SubmitError::FateUnknown) => RETRY_PAUSE,
        };
        if time_until(end) <= pause {
            warn!(request = %job.cancel.request, attempt = job.cancel.attempt, "gave up cancelling a broken call");
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use leasehold_state_machine::{Cancelled, Outcome};
    use parking_lot::Mutex;
    use tokio::time::Instant;

    use super::*;

    /// Fails as often as told, then answers; tells what it was sent.
    #[derive(Clone)]
    struct Flaky {
        failures: Arc<Mutex<u32>>,
        sent: mpsc::UnboundedSender<Operation>,
    }

    impl Submit for Flaky {
        async fn submit(&self, operation: Operation, _deadline: Instant) -> Result<Outcome, SubmitError> {
            self.sent.send(operation).unwrap();
            let mut failures = self.failures.lock();
            if *failures > 0 {
                *failures -= 1;
                return Err(SubmitError::FateUnknown);
            }
            Ok(Outcome::Cancelled(Cancelled::LeftQueue))
        }
    }

    const REQUEST: RequestId = RequestId { client: 1, counter: 1 };

    fn cancels(failures: u32) -> (Cancels, mpsc::UnboundedReceiver<Operation>) {
        let (sent, received) = mpsc::unbounded_channel();
        let node = Flaky { failures: Arc::new(Mutex::new(failures)), sent };
        let stop = CancellationToken::new();
        (Cancels::start(node, Duration::from_secs(1), Duration::from_secs(60), stop), received)
    }

    #[tokio::test]
    async fn a_broken_call_is_cancelled_until_the_cancel_is_answered() {
        let (cancels, mut sent) = cancels(2);
        drop(cancels.guard(REQUEST, 3, None));
        let expected = Operation::CancelAcquire(CancelAcquire { request: REQUEST, attempt: 3 });
        for _ in 0..3 {
            assert_eq!(sent.recv().await, Some(expected.clone()));
        }
        drop(cancels);
        assert_eq!(sent.recv().await, None, "answered, so not sent again");
    }

    #[tokio::test]
    async fn an_answer_that_was_handed_out_is_not_cancelled() {
        let (cancels, mut sent) = cancels(0);
        cancels.guard(REQUEST, 1, None).disarm();
        drop(cancels);
        assert_eq!(sent.recv().await, None);
    }
}
