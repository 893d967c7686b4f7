//! Taking locks, at once or after a wait, and giving up.

use leasehold_consensus::SubmitError;
use leasehold_failpoints::failpoint;
use leasehold_proto::v1;
use leasehold_state_machine::{
    Acquire, CancelAcquire, Held, LeaseRequest, LogTime, Operation, Outcome, Wait as WaitMode,
};
use tokio::time::timeout_at;

use super::cancel::CancelGuard;
use super::{CallTime, Calls, WaitEnd};
use crate::{CallError, convert, validate};

/// An answer that is not handed out yet: until then a broken call cancels what it tells.
#[derive(Debug)]
pub(crate) struct Acquired {
    response: v1::AcquireResponse,
    guard: Option<CancelGuard>,
}

impl Acquired {
    /// The answer. From here on the lease, or the client's own cancel, ends the grant.
    pub(crate) fn hand_out(self) -> v1::AcquireResponse {
        if let Some(guard) = self.guard {
            guard.disarm();
        }
        self.response
    }

    /// What came of it, in a word for a counter.
    pub(crate) fn result(&self) -> &'static str {
        use v1::acquire_response::Result as Told;
        match &self.response.result {
            Some(Told::Granted(_)) => "ok",
            Some(Told::Held(_)) => "held",
            Some(Told::WaitEnded(_)) => "wait_ended",
            Some(Told::Ended(_)) => "ended",
            Some(Told::Deadlock(_)) => "deadlock",
            None => "none",
        }
    }

    /// The answer and what still cancels it, for callers that hand it out later.
    pub(crate) fn into_parts(self) -> (v1::AcquireResponse, Option<CancelGuard>) {
        (self.response, self.guard)
    }
}

/// What an acquire is counted as: what waits takes its time.
pub(crate) fn acquire_name(message: &v1::AcquireRequest) -> &'static str {
    if message.wait_ms.is_some() { "acquire_wait" } else { "acquire" }
}

/// What became of a submitted acquire.
enum Progress {
    Outcome(Result<Outcome, SubmitError>),
    WaitEnd(WaitEnd),
}

impl Calls {
    /// Takes locks. Dropping the future, or its answer, cancels the acquire, unless it is under a session or a convert, and has
    /// an id to come back with: then what it asked for lives with the session, or with the lease of the grant that it
    /// converts, until its client cancels it.
    pub(crate) async fn acquire(&self, mut message: v1::AcquireRequest, time: CallTime) -> Result<Acquired, CallError> {
        self.open()?;
        let namespace = validate::namespace(std::mem::take(&mut message.namespace))?;
        let limits = self.limits(&namespace);
        let (request, lowest, own) = match message.request_id {
            Some(id) => (validate::request_id(id)?, message.lowest_unanswered, None),
            None => {
                let own = self.own_requests.begin();
                (own.id(), own.lowest_unanswered(), Some(own))
            }
        };
        let acquire = validate::acquire(message, namespace, request, lowest, &limits)?;
        failpoint!("acquire::submit::before", pass);
        let mut guard = self.cancels.guard(request, acquire.attempt, own);
        // Nobody else could ever cancel what was asked under an id that this node made up.
        if outlives_its_call(&acquire) && !guard.is_own() {
            guard.stand_down();
        }
        match acquire.wait {
            WaitMode::Try => {
                // What this node has applied tells whether it is worth asking the leader; a try that may be granted costs nothing more.
                let may_be_busy = self.node.state().busy(&acquire, LogTime(0)).is_some();
                if may_be_busy {
                    match Box::pin(self.busy(&acquire, time)).await {
                        Ok(None) => {}
                        Ok(Some(held)) => return Ok(settled(convert::held(held), guard)),
                        Err(error) => {
                            guard.disarm();
                            return Err(error);
                        }
                    }
                }
                let outcome = self.node.submit(Operation::Acquire(acquire), time.deadline()).await;
                self.answer_outcome(outcome, guard)
            }
            WaitMode::For { .. } => Box::pin(self.acquire_waiting(acquire, time, guard)).await,
        }
    }

    /// Answers a try on a held lock without a log entry, where that is all that the log could say.
    async fn busy(&self, acquire: &Acquire, time: CallTime) -> Result<Option<Held>, CallError> {
        let Some(clock) = self.node.read_barrier(time.deadline()).await? else { return Ok(None) };
        Ok(self.node.state().busy(acquire, clock))
    }

    async fn acquire_waiting(
        &self,
        acquire: Acquire,
        time: CallTime,
        guard: CancelGuard,
    ) -> Result<Acquired, CallError> {
        // Before it is submitted: this node may apply the grant before the outcome comes back.
        let mut wait = match self.waits.register(acquire.request, acquire.attempt) {
            Ok(wait) => wait,
            Err(error) => {
                guard.disarm();
                return Err(error);
            }
        };
        let place = Place::of(&acquire);
        let kept = outlives_its_call(&acquire) && !guard.is_own();
        let progress = {
            let submit = self.node.submit(Operation::Acquire(acquire), time.deadline());
            tokio::select! {
                biased;
                outcome = submit => Progress::Outcome(outcome),
                end = wait.ended() => Progress::WaitEnd(end),
            }
        };
        let end = match progress {
            Progress::Outcome(Ok(Outcome::Queued(_))) => match timeout_at(time.wait_deadline(), wait.ended()).await {
                Ok(end) => end,
                Err(_) if time.caller_ends_wait() && kept => return Err(CallError::CallerDeadlineKept),
                // Dropping the guard cancels.
                Err(_) if time.caller_ends_wait() => return Err(CallError::CallerDeadline),
                Err(_) => return Err(abandon(guard, CallError::WaitTooLong)),
            },
            Progress::Outcome(outcome) => return self.answer_outcome(outcome, guard),
            Progress::WaitEnd(end) => end,
        };
        self.answer_wait_end(end, &place, guard)
    }

    fn answer_outcome(&self, outcome: Result<Outcome, SubmitError>, guard: CancelGuard) -> Result<Acquired, CallError> {
        match outcome {
            Ok(Outcome::Granted(granted)) => Ok(held(convert::granted(granted), guard)),
            Ok(Outcome::Held(held)) => Ok(settled(convert::held(held), guard)),
            Ok(Outcome::Ended(ended)) => Ok(settled(convert::ended(ended), guard)),
            Ok(Outcome::Deadlock(deadlock)) => Ok(settled(convert::deadlock(deadlock), guard)),
            Ok(Outcome::Refused(refusal)) => {
                guard.disarm();
                Err(refusal.into())
            }
            // A try that queued, or the outcome of another command: give up whatever it did.
            Ok(_) => Err(CallError::ForeignOutcome { command: "Acquire" }),
            Err(error @ SubmitError::FateUnknown) => Err(abandon(guard, error.into())),
            Err(error) => {
                guard.disarm();
                Err(error.into())
            }
        }
    }

    fn answer_wait_end(&self, end: WaitEnd, place: &Place, guard: CancelGuard) -> Result<Acquired, CallError> {
        match end {
            WaitEnd::Granted(granted) => Ok(held(convert::granted(granted), guard)),
            WaitEnd::Expired => Ok(settled(convert::wait_ended(self.queue_length(place)), guard)),
            WaitEnd::Ended(ended) => Ok(settled(convert::ended(ended), guard)),
            WaitEnd::Superseded { by } => {
                guard.disarm();
                Err(CallError::Superseded { by })
            }
            WaitEnd::Adrift => Err(abandon(guard, CallError::WaitAdrift)),
            // The client asks another node, under the same request id.
            WaitEnd::Stopping => {
                guard.disarm();
                Err(CallError::Stopping)
            }
        }
    }

    /// Waiters of the lock that a wait was for.
    fn queue_length(&self, place: &Place) -> u32 {
        let length = self.node.state().waiter_count(&place.namespace, &place.name);
        u32::try_from(length).unwrap_or(u32::MAX)
    }

    /// Gives up a wait, or a grant.
    pub(crate) async fn cancel_acquire(
        &self,
        message: v1::CancelAcquireRequest,
        time: CallTime,
    ) -> Result<v1::CancelAcquireResponse, CallError> {
        self.open()?;
        let id = message.request_id.ok_or_else(|| CallError::invalid("request_id", "is required"))?;
        let cancel = CancelAcquire { request: validate::request_id(id)?, attempt: validate::attempt(message.attempt) };
        match self.node.submit(Operation::CancelAcquire(cancel), time.deadline()).await? {
            Outcome::Cancelled(cancelled) => Ok(convert::cancelled(cancelled)),
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => Err(CallError::ForeignOutcome { command: "CancelAcquire" }),
        }
    }
}

/// The (first) lock of an acquire.
struct Place {
    namespace: String,
    name: String,
}

impl Place {
    fn of(acquire: &Acquire) -> Self {
        let name = acquire.locks.first().map(|lock| lock.name.clone()).unwrap_or_default();
        Self { namespace: acquire.namespace.clone(), name }
    }
}

/// Whether a broken call cancels nothing: the client has a session, or the grant that it converts, to come back to.
fn outlives_its_call(acquire: &Acquire) -> bool {
    match acquire.lease {
        LeaseRequest::Own { .. } => false,
        LeaseRequest::Session { .. } | LeaseRequest::Convert { .. } => true,
    }
}

/// Something is held as long as the answer is not handed out.
fn held(response: v1::AcquireResponse, guard: CancelGuard) -> Acquired {
    failpoint!("grant::answer::before", pass);
    Acquired { response, guard: Some(guard) }
}

/// Nothing is left to cancel.
fn settled(response: v1::AcquireResponse, guard: CancelGuard) -> Acquired {
    guard.disarm();
    Acquired { response, guard: None }
}

/// Leaves the acquire as it is for its client to ask again, unless the client has no id to ask with: then it is cancelled.
fn abandon(guard: CancelGuard, error: CallError) -> CallError {
    if !guard.is_own() {
        guard.disarm();
    }
    error
}
