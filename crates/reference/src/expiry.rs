//! Log time: what is due goes, in the order of deadlines, and whatever a command touches goes before it is looked at.

use leasehold_state_machine::{Bounds, LeaseId, LossReason, RequestId};

use crate::Model;
use crate::rows::{Due, Fate, LockKey};

impl Model {
    /// At most so many due items as an entry with so many commands may remove.
    pub(crate) fn expire(&mut self, commands: usize) {
        let Bounds { expiries_per_entry_max, expiries_beside_commands_max, .. } = self.bounds;
        let max = if commands > 0 { expiries_beside_commands_max } else { expiries_per_entry_max };
        for _ in 0..max.min(expiries_per_entry_max) {
            let first = self.tables.earliest().filter(|(deadline, _)| *deadline < self.now).cloned();
            let Some((_, due)) = first else { break };
            match due {
                Due::Lease(lease) => self.end_lease(lease, LossReason::Expired),
                Due::Wait(number) => self.end_wait(number, LossReason::Expired, true),
                Due::Record(request) => self.tables.remove_record(request),
                Due::Mark(client) => self.tables.remove_mark(client),
                Due::Delay(_, lock) => self.tables.end_delay(&lock),
            }
        }
    }

    /// Ends a lease that is due but whose turn has not come.
    pub(crate) fn touch_lease(&mut self, id: LeaseId) {
        if self.tables.leases.get(&id).is_some_and(|lease| lease.deadline < self.now) {
            self.end_lease(id, LossReason::Expired);
        }
    }

    pub(crate) fn touch_token(&mut self, token: u64) {
        if let Some(lease) = self.tables.grants.get(&token).map(|grant| grant.lease) {
            self.touch_lease(lease);
        }
    }

    /// A lock's delay and its holders.
    pub(crate) fn touch_lock(&mut self, key: &LockKey) {
        if self.tables.delays.get(key).is_some_and(|delay| delay.until < self.now) {
            self.tables.end_delay(key);
        }
        let holders: Vec<u64> = self.tables.holders(key).map(|(token, _)| token).collect();
        for token in holders {
            self.touch_token(token);
        }
    }

    /// The lease that it waits under first: it may not wait anew when that is over.
    pub(crate) fn touch_waiter(&mut self, number: u64) {
        if let Some(lease) = self.tables.waiters.get(&number).and_then(|waiter| waiter.want.lease()) {
            self.touch_lease(lease);
        }
        if self.tables.waiters.get(&number).is_some_and(|waiter| waiter.deadline < self.now) {
            self.end_wait(number, LossReason::Expired, true);
        }
    }

    /// Everything that is known of a request id.
    pub(crate) fn touch_request(&mut self, id: RequestId) {
        if self.tables.marks.get(&id.client).is_some_and(|mark| mark.until < self.now) {
            self.tables.remove_mark(id.client);
        }
        let Some(record) = self.tables.records.get(&id) else { return };
        match &record.fate {
            Fate::Waiting(number) => self.touch_waiter(*number),
            Fate::Granted { .. } => {
                for token in self.tokens_of(id) {
                    self.touch_token(token);
                }
            }
            Fate::Held { until } | Fate::Refused { until, .. } | Fate::Ended { until, .. } => {
                if *until < self.now {
                    self.tables.remove_record(id);
                }
            }
        }
        self.hand_over();
    }
}
