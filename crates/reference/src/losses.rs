//! Why locks and leases were last lost, where that is remembered: so many of each, the oldest goes first.

use std::collections::BTreeMap;

use leasehold_state_machine::{LeaseId, LossReason};

use crate::rows::LockKey;

/// How locks were last lost, the oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Losses {
    by_lock: BTreeMap<LockKey, (u64, Loss)>,
    by_token: BTreeMap<u64, LockKey>,
    by_age: BTreeMap<u64, LockKey>,
    ever: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct Loss {
    pub(crate) token: u64,
    pub(crate) reason: LossReason,
    pub(crate) note: String,
    pub(crate) at: u64,
}

impl Losses {
    pub(crate) fn remember(&mut self, lock: &LockKey, loss: Loss, max: usize) {
        self.forget(lock);
        self.ever += 1;
        self.by_token.insert(loss.token, lock.clone());
        self.by_age.insert(self.ever, lock.clone());
        self.by_lock.insert(lock.clone(), (self.ever, loss));
        while self.by_lock.len() > max {
            let oldest = self.by_age.values().next().expect("a loss has an age").clone();
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, lock: &LockKey) {
        if let Some((age, loss)) = self.by_lock.remove(lock) {
            self.by_age.remove(&age);
            self.by_token.remove(&loss.token);
        }
    }

    pub(crate) fn of_lock(&self, lock: &LockKey) -> Option<&Loss> {
        self.by_lock.get(lock).map(|(_, loss)| loss)
    }

    pub(crate) fn lock_of(&self, token: u64) -> Option<&LockKey> {
        self.by_token.get(&token)
    }
}

/// Why leases ended, the oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeaseEnds {
    by_lease: BTreeMap<LeaseId, (u64, LossReason)>,
    by_age: BTreeMap<u64, LeaseId>,
    ever: u64,
}

impl LeaseEnds {
    pub(crate) fn remember(&mut self, lease: LeaseId, reason: LossReason, max: usize) {
        self.forget(lease);
        self.ever += 1;
        self.by_lease.insert(lease, (self.ever, reason));
        self.by_age.insert(self.ever, lease);
        while self.by_lease.len() > max {
            let oldest = *self.by_age.values().next().expect("an end has an age");
            self.forget(oldest);
        }
    }

    pub(crate) fn forget(&mut self, lease: LeaseId) {
        if let Some((age, _)) = self.by_lease.remove(&lease) {
            self.by_age.remove(&age);
        }
    }

    pub(crate) fn reason(&self, lease: LeaseId) -> Option<LossReason> {
        self.by_lease.get(&lease).map(|(_, reason)| *reason)
    }
}
