//! Cancels for acquires whose call broke off: sent in the background, repeated until answered.
//!
//! Where the client has an id to cancel by itself, that ends within a bound of time. An id that the node made up nobody else can
//! cancel, and its acquire may lie in a log that is not committed before a quorum is back, however late: its cancel is repeated as
//! long as the node runs. Only their number is bounded.

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
/// Pause before a cancel is sent again for the first time; then twice as long each time.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause: what was sent without an answer may lie in the log already, and takes effect when that goes on.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Where broken calls leave their cancel. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Cancels(mpsc::Sender<Job>);

#[derive(Debug)]
struct Job {
    cancel: CancelAcquire,
    /// Keeps a made-up request id unanswered until its cancel is through: below the mark it would be refused.
    own: Option<OwnRequest>,
}

impl Cancels {
    /// Starts the task that sends them; each attempt takes at most `round`, all attempts of an id that is a client's own
    /// together `total`.
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
        let job = Job { cancel: self.cancel, own: self.own.take() };
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
    let mut more = true;
    while more || !in_flight.is_empty() {
        tokio::select! {
            () = stop.cancelled() => return,
            job = jobs.recv(), if more && in_flight.len() < IN_FLIGHT_MAX => match job {
                Some(job) => in_flight.push(cancel(node.clone(), job, round, total)),
                None => more = false,
            },
            Some(()) = in_flight.next() => {}
        }
    }
}

async fn cancel<S: Submit>(node: S, job: Job, round: Duration, total: Duration) {
    let end = job.own.is_none().then(|| deadline_after(total));
    let mut pause = RETRY_PAUSE;
    loop {
        let deadline = deadline_after(round);
        let deadline = end.map_or(deadline, |end| end.min(deadline));
        let advised = match node.submit(Operation::CancelAcquire(job.cancel), deadline).await {
            // A cancel is of the first level, and small.
            Ok(_) | Err(SubmitError::Stopping | SubmitError::TooLarge { .. } | SubmitError::Level { .. }) => return,
            Err(SubmitError::NoLeader { retry_after }) => retry_after,
            Err(SubmitError::Busy { .. } | SubmitError::FateUnknown) => Duration::ZERO,
        };
        let wait = pause.max(advised);
        if end.is_some_and(|end| time_until(end) <= wait) {
            warn!(request = %job.cancel.request, attempt = job.cancel.attempt, "gave up cancelling a broken call");
            return;
        }
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(RETRY_PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use leasehold_state_machine::{Cancelled, Outcome};
    use parking_lot::Mutex;
    use tokio::time::Instant;

    use super::super::own_requests::OwnRequests;
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
        cancels_within(Duration::from_secs(60), failures)
    }

    fn cancels_within(total: Duration, failures: u32) -> (Cancels, mpsc::UnboundedReceiver<Operation>) {
        let (sent, received) = mpsc::unbounded_channel();
        let node = Flaky { failures: Arc::new(Mutex::new(failures)), sent };
        let stop = CancellationToken::new();
        (Cancels::start(node, Duration::from_secs(1), total, stop), received)
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

    /// The time that all attempts may take is over before the first one fails.
    #[tokio::test]
    async fn a_made_up_id_is_cancelled_however_long_it_takes_a_clients_own_within_a_bound() {
        let (cancels, mut sent) = cancels_within(Duration::ZERO, 1);
        drop(cancels.guard(REQUEST, 1, None));
        drop(cancels);
        assert!(sent.recv().await.is_some());
        assert_eq!(sent.recv().await, None, "its client can cancel it");

        let (cancels, mut sent) = cancels_within(Duration::ZERO, 3);
        let requests = OwnRequests::new(1);
        let own = requests.begin();
        let counter = own.id().counter;
        drop(cancels.guard(own.id(), 1, Some(own)));
        for _ in 0..3 {
            assert!(sent.recv().await.is_some());
            assert_eq!(requests.begin().lowest_unanswered(), counter, "the mark stays below it");
        }
        assert!(sent.recv().await.is_some(), "the attempt that is answered");
        drop(cancels);
        assert_eq!(sent.recv().await, None, "answered, so not sent again");
        let next = requests.begin();
        assert_eq!(next.lowest_unanswered(), next.id().counter, "and no longer kept");
    }

    #[tokio::test]
    async fn an_answer_that_was_handed_out_is_not_cancelled() {
        let (cancels, mut sent) = cancels(0);
        cancels.guard(REQUEST, 1, None).disarm();
        drop(cancels);
        assert_eq!(sent.recv().await, None);
    }
}
