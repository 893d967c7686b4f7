//! Expiry in log time. An item is alive while `now <= deadline`.

use super::StateMachine;
use super::deadlines::Item;
use super::keys::{LockKey, WaiterId};
use super::rows::RequestState;
use crate::{FencingToken, LeaseId, LogTime, LossReason, RequestId};

impl StateMachine {
    /// Removes what is due, in (deadline, id) order, up to the bound of an entry with so many commands. Grants nothing yet.
    pub(super) fn expire_due(&mut self, commands: usize) {
        for _ in 0..self.bounds.expiries_max(commands) {
            let Some(item) = self.tables.deadlines.first_due(self.now()) else { return };
            match item {
                Item::Lease(high, low) => {
                    self.end_lease(LeaseId(u128::from(high) << 64 | u128::from(low)), LossReason::Expired);
                }
                Item::Waiter(waiter) => self.end_waiter(waiter, LossReason::Expired, true),
                Item::Request(request) => self.tables.remove_request(request),
                Item::Instance(client) => self.tables.remove_instance(client),
                Item::Delay(number) => {
                    let lock = self.tables.delays_by_number.get(&number).expect("a lock-delay has a lock").clone();
                    self.end_delay(&lock);
                }
            }
        }
    }

    /// Nothing at all is due: touching would find nothing.
    pub(super) fn nothing_due(&self) -> bool {
        self.tables.deadlines.first_due(self.now()).is_none()
    }

    fn is_due(&self, deadline: LogTime) -> bool {
        self.now() > deadline
    }

    /// Expires a lease that is due, though the entry's expiries did not come to it. Touching an item does so, so that
    /// no command ever sees one that is due.
    pub(super) fn touch_lease(&mut self, lease: LeaseId) {
        if self.tables.leases.get(&lease).is_some_and(|lease| self.is_due(lease.deadline)) {
            self.end_lease(lease, LossReason::Expired);
        }
    }

    pub(super) fn touch_grant(&mut self, token: FencingToken) {
        if let Some(grant) = self.tables.grants.get(&token) {
            self.touch_lease(grant.lease);
        }
    }

    pub(super) fn touch_delay(&mut self, lock: &LockKey) {
        if self.tables.delays.get(lock).is_some_and(|delay| self.is_due(delay.until)) {
            self.end_delay(lock);
        }
    }

    fn end_delay(&mut self, lock: &LockKey) {
        self.tables.remove_delay(lock);
        self.freed.insert(lock.clone());
    }

    /// Whether the waiter is (still) there and alive, as is the lease that its grants will hang on.
    pub(super) fn touch_waiter(&mut self, waiter: WaiterId) -> bool {
        let claim = self.tables.waiters.get(&waiter).map(|waiter| &waiter.claim);
        if let Some(lease) = claim.and_then(|claim| self.tables.lease_of_claim(claim)) {
            self.touch_lease(lease);
        }
        match self.tables.waiters.get(&waiter) {
            None => false,
            Some(found) if self.is_due(found.deadline) => {
                self.end_waiter(waiter, LossReason::Expired, true);
                false
            }
            Some(_) => true,
        }
    }

    /// Touches a request, what it waits in or holds, and the mark of its client instance.
    pub(super) fn touch_request(&mut self, id: RequestId) {
        if self.tables.instances.get(&id.client).is_some_and(|instance| self.is_due(instance.until)) {
            self.tables.remove_instance(id.client);
        }
        let Some(request) = self.tables.requests.get(&id) else { return };
        match &request.state {
            RequestState::Waiting { waiter } => {
                self.touch_waiter(*waiter);
            }
            RequestState::Granted { .. } => {
                if let Some(lease) = self.lease_of(id) {
                    self.touch_lease(lease);
                }
            }
            RequestState::Held { until } | RequestState::Told { until, .. } | RequestState::Ended { until, .. } => {
                if self.is_due(*until) {
                    self.tables.remove_request(id);
                }
            }
        }
    }
}
