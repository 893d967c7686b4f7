//! Expiry in log time. An item is alive while `now <= deadline`.

use super::StateMachine;
use super::deadlines::Item;
use super::keys::WaiterId;
use super::rows::RequestState;
use crate::{FencingToken, LeaseId, LogTime, LossReason, RequestId};

impl StateMachine {
    /// Removes what is due, in (deadline, id) order, up to the bound. Grants nothing yet.
    pub(super) fn expire_due(&mut self) {
        for _ in 0..self.bounds.expiries_per_entry_max {
            let Some(item) = self.tables.deadlines.first_due(self.now()) else { return };
            match item {
                Item::Lease(high, low) => {
                    self.end_lease(LeaseId(u128::from(high) << 64 | u128::from(low)), LossReason::Expired);
                }
                Item::Waiter(waiter) => self.end_waiter(waiter, LossReason::Expired),
                Item::Request(request) => self.tables.remove_request(request),
                Item::Instance(client) => self.tables.remove_instance(client),
            }
        }
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

    /// Whether the waiter is (still) there and alive.
    pub(super) fn touch_waiter(&mut self, waiter: WaiterId) -> bool {
        match self.tables.waiters.get(&waiter) {
            None => false,
            Some(found) if self.is_due(found.deadline) => {
                self.end_waiter(waiter, LossReason::Expired);
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
        match request.state {
            RequestState::Waiting { waiter } => {
                self.touch_waiter(waiter);
            }
            RequestState::Granted { .. } => {
                if let Some(lease) = self.lease_of(id) {
                    self.touch_lease(lease);
                }
            }
            RequestState::Held { until }
            | RequestState::LimitReached { until, .. }
            | RequestState::Ended { until, .. } => {
                if self.is_due(until) {
                    self.tables.remove_request(id);
                }
            }
        }
    }
}
