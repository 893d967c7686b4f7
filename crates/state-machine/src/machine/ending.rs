//! How grants, leases and waits end, whatever ends them.

use super::StateMachine;
use super::keys::WaiterId;
use super::rows::{Grant, LeaseEnd, Loss, RequestState};
use crate::{EventKind, FencingToken, LeaseId, LossReason, RequestId};

impl StateMachine {
    /// Ends one grant. A lease of its own closes with its last one.
    pub(super) fn end_grant(&mut self, token: FencingToken, reason: LossReason) {
        let Some(lease) = self.drop_grant(token, reason) else { return };
        let empty = self.tables.leases.get(&lease).is_some_and(|lease| lease.grants.is_empty());
        if empty && !lease.is_session() {
            self.close_empty_lease(lease, reason);
        }
    }

    /// Ends a lease with all grants that hang on it; returns their number.
    pub(super) fn end_lease(&mut self, lease: LeaseId, reason: LossReason) -> u32 {
        let Some(found) = self.tables.leases.get(&lease) else { return 0 };
        let tokens = found.grants.as_slice().to_vec();
        for token in &tokens {
            self.drop_grant(*token, reason);
        }
        self.close_empty_lease(lease, reason);
        u32::try_from(tokens.len()).unwrap_or(u32::MAX)
    }

    /// Ends a wait without a grant.
    pub(super) fn end_waiter(&mut self, id: WaiterId, reason: LossReason) {
        let Some(waiter) = self.tables.remove_waiter(id) else { return };
        self.freed.extend(waiter.claim.wanted.iter().map(|wanted| wanted.lock.clone()));
        let request = waiter.claim.request;
        let attempt = self.tables.requests.get(&request).map_or(0, |request| request.attempt);
        self.emit(&waiter.claim.namespace, EventKind::WaitEnded { request, attempt, reason });
        self.end_request(request, reason, None);
    }

    fn drop_grant(&mut self, token: FencingToken, reason: LossReason) -> Option<LeaseId> {
        let Grant { lock, lease, request, .. } = self.tables.remove_grant(token)?;
        let kind = EventKind::Lost { name: lock.name().to_owned(), token, lease, reason };
        self.emit(lock.namespace(), kind);
        self.freed.insert(lock.clone());
        let number = self.next_loss();
        self.tables.put_loss(lock, Loss { number, token, reason });
        if self.tables.losses.len() > self.bounds.losses_max {
            let (_, oldest) = self.tables.losses_by_age.first_key_value().expect("every loss has an age");
            self.tables.remove_loss(&oldest.clone());
        }
        self.lose_one(request, reason);
        Some(lease)
    }

    /// One of the grants of a request is gone; with the last one the request has ended.
    fn lose_one(&mut self, id: RequestId, reason: LossReason) {
        let Some(request) = self.tables.requests.get_mut(&id) else { return };
        let RequestState::Granted { first, live, .. } = &mut request.state else { return };
        // Not stored, so the ledger need not know.
        *live -= 1;
        if *live == 0 {
            let first = *first;
            self.end_request(id, reason, Some(first));
        }
    }

    fn close_empty_lease(&mut self, id: LeaseId, reason: LossReason) {
        let Some(lease) = self.tables.remove_lease(id) else { return };
        self.emit(&lease.namespace, EventKind::LeaseEnded { lease: id, reason });
        let number = self.next_loss();
        self.tables.put_lease_end(id, LeaseEnd { number, reason });
        if self.tables.lease_ends.len() > self.bounds.losses_max {
            let (_, oldest) = self.tables.lease_ends_by_age.first_key_value().expect("every end has an age");
            self.tables.remove_lease_end(*oldest);
        }
    }

    fn next_loss(&mut self) -> u64 {
        let number = self.tables.header.next_loss;
        self.tables.header.next_loss += 1;
        number
    }
}
