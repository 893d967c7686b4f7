//! The acquires that wait on this node, and what ends their wait: what the node applies.

use std::collections::BTreeMap;
use std::sync::Arc;

use leasehold_state_machine::{
    Attempt, Ended, Event, EventKind, Granted, LossReason, RequestId, RequestView, StateMachine,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::CallError;

/// What ended a wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WaitEnd {
    /// The locks are held.
    Granted(Granted),
    /// The wait's deadline passed.
    Expired,
    /// The request was cancelled, its session ended, or it had been granted and lost since.
    Ended(Ended),
    /// A later attempt counts now.
    Superseded { by: Attempt },
    /// No leader was known for too long.
    Adrift,
    /// The node stops.
    Stopping,
}

/// Waiting calls by request id. A call registers before it submits, so it misses nothing.
#[derive(Debug)]
pub(crate) struct Waits {
    max: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    calls: BTreeMap<RequestId, Call>,
    generation: u64,
    closed: bool,
}

#[derive(Debug)]
struct Call {
    attempt: Attempt,
    generation: u64,
    sender: oneshot::Sender<WaitEnd>,
}

/// One registered call; dropping it ends the registration.
#[derive(Debug)]
pub(crate) struct Wait {
    waits: Arc<Waits>,
    request: RequestId,
    generation: u64,
    receiver: oneshot::Receiver<WaitEnd>,
}

impl Waits {
    /// For at most `max` calls at once.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, table: Mutex::default() })
    }

    /// Registers a call. It ends an earlier one of the same request, unless that is a later attempt.
    pub(crate) fn register(self: &Arc<Self>, request: RequestId, attempt: Attempt) -> Result<Wait, CallError> {
        let mut table = self.table.lock();
        if table.closed {
            return Err(CallError::Stopping);
        }
        match table.calls.get(&request) {
            Some(earlier) if earlier.attempt > attempt => return Err(CallError::Superseded { by: earlier.attempt }),
            Some(_) => table.end(request, WaitEnd::Superseded { by: attempt }),
            None if table.calls.len() >= self.max => {
                return Err(CallError::LimitReached { limit: "waits_max", max: self.max });
            }
            None => {}
        }
        table.generation += 1;
        let generation = table.generation;
        let (sender, receiver) = oneshot::channel();
        table.calls.insert(request, Call { attempt, generation, sender });
        Ok(Wait { waits: Arc::clone(self), request, generation, receiver })
    }

    /// Ends all waits for want of a leader.
    pub(crate) fn adrift(&self) {
        self.table.lock().end_all(&WaitEnd::Adrift);
    }

    /// Ends all waits and takes no more.
    pub(crate) fn close(&self) {
        let mut table = self.table.lock();
        table.closed = true;
        table.end_all(&WaitEnd::Stopping);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.table.lock().calls.len()
    }
}

impl Table {
    fn end(&mut self, request: RequestId, end: WaitEnd) {
        if let Some(call) = self.calls.remove(&request) {
            // The call may have gone this very moment.
            let _gone = call.sender.send(end);
        }
    }

    fn end_all(&mut self, end: &WaitEnd) {
        for (_, call) in std::mem::take(&mut self.calls) {
            let _gone = call.sender.send(end.clone());
        }
    }

    /// Word of `attempt` of a request: about an earlier attempt than the registered one it means nothing, about a later one it
    /// supersedes.
    fn hear(&mut self, request: RequestId, attempt: Attempt, end: impl FnOnce() -> Option<WaitEnd>) {
        let Some(call) = self.calls.get(&request) else { return };
        if attempt > call.attempt {
            self.end(request, WaitEnd::Superseded { by: attempt });
        } else if attempt == call.attempt
            && let Some(end) = end()
        {
            self.end(request, end);
        }
    }
}

/// What a request that ended while events were skipped means to a call that waits for it. Whether its own deadline ended the
/// wait or that of its session is not told here: if it was the session's, the next attempt hears of it.
fn ended(ended: Ended) -> WaitEnd {
    match ended {
        Ended { reason: LossReason::Expired, token: None } => WaitEnd::Expired,
        other => WaitEnd::Ended(other),
    }
}

/// What the node applies (as [`leasehold_consensus::ApplyObserver`] tells it).
impl Waits {
    /// One entry was applied.
    pub(crate) fn applied(&self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        let mut table = self.table.lock();
        if table.calls.is_empty() {
            return;
        }
        for event in events {
            match &event.kind {
                EventKind::Granted { request, attempt, granted, owner: _ } => {
                    table.hear(*request, *attempt, || Some(WaitEnd::Granted(granted.clone())));
                }
                EventKind::Queued { request, attempt, .. } => table.hear(*request, *attempt, || None),
                EventKind::WaitEnded { request, attempt, timed_out: true, .. } => {
                    table.hear(*request, *attempt, || Some(WaitEnd::Expired));
                }
                EventKind::WaitEnded { request, attempt, reason, timed_out: false, .. } => {
                    let ended = Ended { reason: *reason, token: None };
                    table.hear(*request, *attempt, || Some(WaitEnd::Ended(ended)));
                }
                EventKind::Lost { .. }
                | EventKind::Converted { .. }
                | EventKind::ValueSet { .. }
                | EventKind::SessionOpened { .. }
                | EventKind::LeaseEnded { .. } => {}
            }
        }
    }

    /// Events were skipped: every call is looked up.
    pub(crate) fn reset(&self, state: &StateMachine) {
        let mut table = self.table.lock();
        let requests: Vec<RequestId> = table.calls.keys().copied().collect();
        for request in requests {
            match state.request(request) {
                // Still on its way, or about to time out by itself.
                RequestView::Unknown => {}
                RequestView::Waiting { attempt } => table.hear(request, attempt, || None),
                RequestView::Granted { attempt, granted } => {
                    table.hear(request, attempt, || Some(WaitEnd::Granted(granted)));
                }
                RequestView::Ended { attempt, ended: past } => table.hear(request, attempt, || Some(ended(past))),
            }
        }
    }
}

impl Wait {
    /// What ended the wait.
    pub(crate) async fn ended(&mut self) -> WaitEnd {
        // The sender leaves the table only with a word.
        (&mut self.receiver).await.unwrap_or(WaitEnd::Stopping)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut table = self.waits.table.lock();
        if table.calls.get(&self.request).is_some_and(|call| call.generation == self.generation) {
            table.calls.remove(&self.request);
        }
    }
}

#[cfg(test)]
#[path = "waits_tests.rs"]
mod tests;
