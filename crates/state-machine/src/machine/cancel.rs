use super::StateMachine;
use super::rows::{Request, RequestState};
use super::validate::invalid;
use crate::{CancelAcquire, Cancelled, FencingToken, LossReason, Outcome, Refusal};

impl StateMachine {
    /// Gives up a wait, or the grant that raced the cancel, and leaves a tombstone, so that a delayed acquire of this
    /// attempt or an earlier one takes no effect. Does nothing once a later attempt was applied; and a later attempt
    /// that comes after it is tried like a new request: the client that moved to another node wins either way.
    pub(super) fn cancel(&mut self, cancel: &CancelAcquire) -> Result<Outcome, Refusal> {
        let id = cancel.request;
        if id.counter == 0 {
            return Err(invalid("request_id.counter", "counts from 1"));
        }
        if cancel.attempt == 0 {
            return Err(invalid("attempt", "counts from 1"));
        }
        self.touch_request(id);
        self.hand_over();
        let Some(known) = self.tables.requests.get(&id).cloned() else {
            if self.answered_mark(id).is_none() {
                self.check_room_for(id)?;
                self.put_tombstone(id, cancel.attempt, None, LossReason::Cancelled, None);
            }
            self.use_instance(id.client, 0);
            return Ok(Outcome::Cancelled(Cancelled::NotFound));
        };
        if cancel.attempt < known.attempt {
            return Ok(Outcome::Cancelled(Cancelled::Superseded));
        }
        self.use_instance(id.client, 0);
        let cancelled = match known.state {
            RequestState::Waiting { waiter } => {
                self.end_waiter(waiter, LossReason::Cancelled, false);
                Cancelled::LeftQueue
            }
            RequestState::Granted { converted: true, .. } => {
                // Held before it, and held on.
                let kept =
                    self.live_grants(id).next().map(|(token, grant)| Cancelled::Kept { token, mode: grant.mode });
                return Ok(Outcome::Cancelled(kept.expect("a granted request has a grant")));
            }
            RequestState::Granted { .. } => {
                let tokens: Vec<FencingToken> = self.live_grants(id).map(|(token, _)| token).collect();
                for token in tokens {
                    self.end_grant(token, LossReason::Cancelled, "");
                }
                Cancelled::UndidGrant
            }
            RequestState::Held { .. } | RequestState::Told { .. } | RequestState::Ended { .. } => Cancelled::NotFound,
        };
        self.mark_cancelled(cancel, known.body, &known.state);
        Ok(Outcome::Cancelled(cancelled))
    }

    /// The tombstone holds for the attempt of the cancel, and says how a grant ended that had ended before.
    fn mark_cancelled(&mut self, cancel: &CancelAcquire, body: Option<u64>, before: &RequestState) {
        let id = cancel.request;
        if self.answered_mark(id).is_some() {
            return;
        }
        let (reason, token) = match *before {
            RequestState::Ended { reason, token: Some(token), .. } => (reason, Some(token)),
            RequestState::Granted { first, .. } => (LossReason::Cancelled, Some(first)),
            RequestState::Ended { token: None, .. }
            | RequestState::Held { .. }
            | RequestState::Told { .. }
            | RequestState::Waiting { .. } => (LossReason::Cancelled, None),
        };
        debug_assert!(self.tables.requests.get(&id).is_none_or(|Request { state, .. }| !state.is_live()));
        self.put_tombstone(id, cancel.attempt, body, reason, token);
    }
}
