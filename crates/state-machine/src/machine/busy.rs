//! Tries that are refused without a log entry (DESIGN section 4, the last rule).

use super::StateMachine;
use super::acquire::wanted;
use super::keys::LockKey;
use super::queue::Load;
use crate::{Acquire, FencingToken, Held, LeaseRequest, LogTime, Mode, Wait};

/// Holders that are looked at to find a lock held. Behind more the log decides.
const HOLDERS_LOOKED_AT_MAX: usize = 1_024;

impl StateMachine {
    /// What a try is told whose answer can be nothing but "held", so that it needs no log entry: the first attempt of an unknown
    /// id, for a lock that is still held by those alone who are not due by `clock`. The state must include everything acknowledged
    /// before the try arrived, and `clock` must be the leader's since then. None: the log decides.
    #[must_use]
    pub fn busy(&self, acquire: &Acquire, clock: LogTime) -> Option<Held> {
        let clock = clock.max(self.now());
        let first = acquire.wait == Wait::Try
            && acquire.attempt == 1
            && !self.tables.requests.contains_key(&acquire.request)
            && self.answered_mark(acquire.request).is_none();
        let ordinary = match acquire.lease {
            LeaseRequest::Own { .. } => true,
            // Whether it is open, and of this namespace, is for the log to say.
            LeaseRequest::Session { session } => self.tables.leases.get(&session).is_some_and(|lease| {
                lease.session.is_some() && *lease.namespace == *acquire.namespace && lease.deadline >= clock
            }),
            LeaseRequest::Convert { .. } => false,
        };
        if !first || !ordinary {
            return None;
        }
        let wanted = wanted(acquire);
        let blocked = wanted.iter().any(|wanted| self.is_busy(&wanted.lock, wanted.mode, clock));
        (blocked && self.limit_conflict(&wanted).is_none()).then(|| self.held_by(acquire, &wanted))
    }

    /// Whether a lock admits nobody in this mode even when all that is due by `clock` has gone.
    fn is_busy(&self, key: &LockKey, mode: Mode, clock: LogTime) -> bool {
        let Some(lock) = self.tables.locks.get(key) else { return false };
        if lock.delayed && self.tables.delays.get(key).is_some_and(|delay| delay.until >= clock) {
            return true;
        }
        let mut load = Load::default();
        let living = |token: &FencingToken| {
            let grant = self.tables.grants.get(token)?;
            let lease = self.tables.leases.get(&grant.lease)?;
            (lease.deadline >= clock).then_some(grant.mode)
        };
        lock.holders.as_slice().iter().take(HOLDERS_LOOKED_AT_MAX).filter_map(living).any(|held| {
            load.add(held);
            !load.admits(mode)
        })
    }
}
