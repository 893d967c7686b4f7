//! `CancelAcquire`: gives up an attempt and those before it.

use leasehold_state_machine::{CancelAcquire, Cancelled, Ended, FencingToken, LossReason, Outcome};

use crate::rows::Fate;
use crate::{Model, invalid};

impl Model {
    pub(crate) fn cancel(&mut self, cancel: CancelAcquire) -> Outcome {
        let CancelAcquire { request: id, attempt } = cancel;
        if id.counter == 0 {
            return invalid("request_id.counter");
        }
        if attempt == 0 {
            return invalid("attempt");
        }
        self.touch_request(id);
        let nothing = Ended { reason: LossReason::Cancelled, token: None };
        let Some(record) = self.tables.records.get(&id).cloned() else {
            if self.mark_above(id).is_none() {
                if let Some(refused) = self.no_room(id) {
                    return refused;
                }
                let fate = Fate::Ended { ended: nothing, until: self.remember_until() };
                self.put_record(id, attempt, None, fate);
            }
            self.hear_of(id.client, 0);
            return Outcome::Cancelled(Cancelled::NotFound);
        };
        if attempt < record.attempt {
            return Outcome::Cancelled(Cancelled::Superseded);
        }
        self.hear_of(id.client, 0);
        let (cancelled, ended) = match record.fate {
            Fate::Waiting(number) => {
                self.end_wait(number, LossReason::Cancelled, false);
                (Cancelled::LeftQueue, nothing)
            }
            Fate::Granted { first } => {
                if let Some(kept) = self.kept(first) {
                    return Outcome::Cancelled(kept);
                }
                for token in self.tokens_of(id) {
                    self.end_grant(token, LossReason::Cancelled, "");
                }
                (Cancelled::UndidGrant, Ended { token: Some(FencingToken(first)), ..nothing })
            }
            Fate::Ended { ended, .. } if ended.token.is_some() => (Cancelled::NotFound, ended),
            Fate::Ended { .. } | Fate::Held { .. } | Fate::Refused { .. } => (Cancelled::NotFound, nothing),
        };
        if self.mark_above(id).is_none() {
            let fate = Fate::Ended { ended, until: self.remember_until() };
            self.put_record(id, attempt, record.body, fate);
        }
        Outcome::Cancelled(cancelled)
    }

    /// A granted convert is not undone: the lock was held before it.
    fn kept(&self, token: u64) -> Option<Cancelled> {
        let grant = self.tables.grants.get(&token).filter(|grant| grant.converted)?;
        Some(Cancelled::Kept { token: FencingToken(token), mode: grant.mode })
    }
}
