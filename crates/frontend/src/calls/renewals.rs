//! Renewals of all callers of this node, many to one command.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use leasehold_consensus::clock::deadline_after;
use leasehold_consensus::{SubmitError, runtime};
use leasehold_state_machine::{Operation, Outcome, RENEWALS_MAX, Renew, RenewLease, Renewed};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::submit::Submit;
use crate::CallError;

/// Calls that wait to be taken into a command.
const QUEUED_MAX: usize = 16_384;
/// Commands on their way at once.
const IN_FLIGHT_MAX: usize = 4;
/// A command that takes longer no longer holds up the next one (its leader may have died).
const PATIENCE: Duration = Duration::from_millis(50);

/// Where calls leave their renewals. All that arrive while one command is on its way go into the next. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Renewals(mpsc::Sender<Job>);

type Answer = Result<Vec<Renewed>, CallError>;

#[derive(Debug)]
struct Job {
    leases: Vec<RenewLease>,
    deadline: Instant,
    answer: oneshot::Sender<Answer>,
}

impl Renewals {
    pub(crate) fn start<S: Submit>(node: S, stop: CancellationToken) -> Self {
        let (sender, jobs) = mpsc::channel(QUEUED_MAX);
        runtime::spawn(run(node, jobs, stop));
        Self(sender)
    }

    /// Renews at most [`RENEWALS_MAX`] leases, each for itself; answers in their order.
    pub(crate) async fn renew(&self, leases: Vec<RenewLease>, deadline: Instant) -> Answer {
        assert!(leases.len() <= RENEWALS_MAX, "calls are checked before they get here");
        let (answer, answered) = oneshot::channel();
        let job = Job { leases, deadline, answer };
        if self.0.try_send(job).is_err() {
            return Err(if self.0.is_closed() {
                CallError::Stopping
            } else {
                CallError::Submit(SubmitError::Busy { pending: QUEUED_MAX })
            });
        }
        match tokio::time::timeout_at(deadline, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(CallError::Stopping),
            // It may sit in a command that is on its way; renewing again does no harm.
            Err(_) => Err(CallError::Submit(SubmitError::FateUnknown)),
        }
    }
}

async fn run<S: Submit>(node: S, mut jobs: mpsc::Receiver<Job>, stop: CancellationToken) {
    let mut waiting: Vec<Job> = Vec::new();
    let mut in_flight = FuturesUnordered::new();
    let mut patience = deadline_after(Duration::ZERO);
    loop {
        let may_send = in_flight.len() < IN_FLIGHT_MAX;
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some(()) = in_flight.next() => {}
            count = jobs.recv_many(&mut waiting, QUEUED_MAX), if waiting.len() < QUEUED_MAX => {
                if count == 0 { return; }
            }
            () = tokio::time::sleep_until(patience), if may_send && !waiting.is_empty() => {}
        }
        while !waiting.is_empty()
            && (in_flight.is_empty() || in_flight.len() < IN_FLIGHT_MAX && deadline_after(Duration::ZERO) >= patience)
        {
            in_flight.push(send(node.clone(), take_batch(&mut waiting)));
            patience = deadline_after(PATIENCE);
        }
    }
}

/// As many calls as fit into one command, oldest first; those whose caller is gone are left out.
fn take_batch(waiting: &mut Vec<Job>) -> Vec<Job> {
    let mut leases = 0;
    let fitting = waiting
        .iter()
        .take_while(|job| {
            leases += job.leases.len();
            leases <= RENEWALS_MAX
        })
        .count();
    let mut batch: Vec<Job> = waiting.drain(..fitting).collect();
    batch.retain(|job| !job.answer.is_closed());
    batch
}

async fn send<S: Submit>(node: S, batch: Vec<Job>) {
    let Some(deadline) = batch.iter().map(|job| job.deadline).max() else { return };
    let leases: Vec<RenewLease> = batch.iter().flat_map(|job| job.leases.iter().copied()).collect();
    let result = match node.submit(Operation::Renew(Renew { leases, all_or_nothing: false }), deadline).await {
        Ok(Outcome::Renewed(renewed)) => Ok(renewed),
        Ok(Outcome::Refused(refusal)) => Err(CallError::Refused(refusal)),
        Ok(_) => Err(CallError::ForeignOutcome { command: "Renew" }),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(renewed) => split(batch, renewed),
        Err(error) => {
            for job in batch {
                let _gone = job.answer.send(Err(error.clone()));
            }
        }
    }
}

fn split(batch: Vec<Job>, renewed: Vec<Renewed>) {
    let mut renewed = renewed.into_iter();
    for job in batch {
        let own: Vec<Renewed> = renewed.by_ref().take(job.leases.len()).collect();
        let answer =
            if own.len() == job.leases.len() { Ok(own) } else { Err(CallError::ForeignOutcome { command: "Renew" }) };
        let _gone = job.answer.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use leasehold_state_machine::LeaseId;
    use tokio::sync::Semaphore;

    use super::*;

    /// Answers each lease with its number as the time left, once the gate lets a command through.
    #[derive(Clone)]
    struct Echo {
        gate: Arc<Semaphore>,
        sizes: mpsc::UnboundedSender<usize>,
    }

    impl Submit for Echo {
        async fn submit(&self, operation: Operation, _deadline: Instant) -> Result<Outcome, SubmitError> {
            let Operation::Renew(renew) = operation else { panic!("only renewals are sent") };
            self.sizes.send(renew.leases.len()).unwrap();
            self.gate.acquire().await.unwrap().forget();
            let left =
                |lease: &RenewLease| Renewed::Alive { left_ms: u64::try_from(lease.lease.0).unwrap(), forced: 0 };
            Ok(Outcome::Renewed(renew.leases.iter().map(left).collect()))
        }
    }

    fn lease(number: u128) -> RenewLease {
        RenewLease { lease: LeaseId(number), ttl_ms: None, exact: None }
    }

    #[tokio::test]
    async fn renewals_that_arrive_meanwhile_share_the_next_command() {
        let (sizes, mut sent) = mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let renewals = Renewals::start(Echo { gate: Arc::clone(&gate), sizes }, CancellationToken::new());
        let deadline = deadline_after(Duration::from_secs(5));
        let call = |numbers: Vec<u128>| {
            let renewals = renewals.clone();
            tokio::spawn(async move { renewals.renew(numbers.into_iter().map(lease).collect(), deadline).await })
        };
        let first = call(vec![1]);
        assert_eq!(sent.recv().await, Some(1));
        let second = call(vec![2, 3]);
        let third = call(vec![4]);
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        gate.add_permits(2);
        assert_eq!(sent.recv().await, Some(3));
        let left = |left_ms| Renewed::Alive { left_ms, forced: 0 };
        assert_eq!(first.await.unwrap(), Ok(vec![left(1)]));
        assert_eq!(second.await.unwrap(), Ok(vec![left(2), left(3)]));
        assert_eq!(third.await.unwrap(), Ok(vec![left(4)]));
    }

    #[tokio::test]
    async fn a_stuck_command_does_not_hold_up_the_next() {
        let (sizes, mut sent) = mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let renewals = Renewals::start(Echo { gate: Arc::clone(&gate), sizes }, CancellationToken::new());
        let deadline = deadline_after(Duration::from_secs(60));
        let call = |number| {
            let renewals = renewals.clone();
            tokio::spawn(async move { renewals.renew(vec![lease(number)], deadline).await })
        };
        let _stuck = call(1);
        assert_eq!(sent.recv().await, Some(1));
        let _next = call(2);
        assert_eq!(sent.recv().await, Some(1), "it goes out although the first has no answer");
    }

    #[tokio::test]
    async fn a_renewal_without_answer_says_that_it_may_have_happened() {
        let (sizes, _sent) = mpsc::unbounded_channel();
        let renewals = Renewals::start(Echo { gate: Arc::new(Semaphore::new(0)), sizes }, CancellationToken::new());
        let answer = renewals.renew(vec![lease(1)], deadline_after(Duration::from_millis(20))).await;
        assert_eq!(answer, Err(CallError::Submit(SubmitError::FateUnknown)));
    }

    #[test]
    fn a_batch_stays_within_the_limit_of_a_command() {
        let job = |count: usize| {
            let (answer, answered) = oneshot::channel();
            let deadline = deadline_after(Duration::from_secs(1));
            (Job { leases: vec![lease(1); count], deadline, answer }, answered)
        };
        let (first, _a) = job(RENEWALS_MAX - 1);
        let (second, _b) = job(2);
        let mut waiting = vec![first, second];
        assert_eq!(take_batch(&mut waiting).len(), 1);
        assert_eq!(waiting.len(), 1);
    }
}
