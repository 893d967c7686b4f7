//! How grants, leases and waits end, whatever ends them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::StateMachine;
use super::keys::WaiterId;
use super::rows::{Lease, LeaseEnd, Loss, RequestState};
use crate::{EventKind, FencingToken, LeaseId, LossReason, RequestId};

impl StateMachine {
    /// Ends one grant. A lease of its own closes with its last one.
    pub(super) fn end_grant(&mut self, token: FencingToken, reason: LossReason, note: &str) {
        let Some(owner) = self.tables.grants.get(&token).map(|grant| grant.owner.clone()) else { return };
        let Some(lease) = self.drop_grant(token, reason, note) else { return };
        let empty = self.tables.leases.get(&lease).is_some_and(|lease| lease.grants.is_empty());
        if empty && !lease.is_session() {
            self.close_empty_lease(lease, reason, owner);
        }
    }

    /// Ends a lease with all grants, then all waits, that hang on it; returns the number of grants.
    pub(super) fn end_lease(&mut self, id: LeaseId, reason: LossReason) -> u32 {
        let Some(Lease { grants, session, .. }) = self.tables.leases.get(&id) else { return 0 };
        let tokens = grants.as_slice().to_vec();
        let (owner, waits) = match session {
            Some(session) => (session.owner.clone(), session.waits.clone()),
            // The grants under a lease of its own are of one request.
            None => {
                let grant = tokens.first().and_then(|token| self.tables.grants.get(token));
                (grant.map_or_else(|| "".into(), |grant| grant.owner.clone()), BTreeSet::new())
            }
        };
        for token in &tokens {
            self.drop_grant(*token, reason, "");
        }
        for waiter in waits {
            self.end_waiter(waiter, reason, false);
        }
        self.close_empty_lease(id, reason, owner);
        u32::try_from(tokens.len()).unwrap_or(u32::MAX)
    }

    /// Ends a wait without a grant. Of one that converts a grant, while that is still there.
    pub(super) fn end_waiter(&mut self, id: WaiterId, reason: LossReason, timed_out: bool) {
        let Some(waiter) = self.tables.waiters.get(&id) else { return };
        let (owner, lease) = (self.tables.owner_of(&waiter.claim), self.tables.lease_of_claim(&waiter.claim));
        let Some(waiter) = self.tables.remove_waiter(id) else { return };
        self.freed.extend(waiter.claim.wanted.iter().map(|wanted| wanted.lock.clone()));
        let request = waiter.claim.request;
        let attempt = self.tables.requests.get(&request).map_or(0, |request| request.attempt);
        let names = waiter.claim.wanted.iter().map(|wanted| wanted.lock.name().to_owned()).collect();
        let kind = EventKind::WaitEnded { request, attempt, reason, timed_out, names, owner, lease };
        self.emit(&waiter.claim.namespace, kind);
        self.end_request(request, reason, None);
    }

    fn drop_grant(&mut self, token: FencingToken, reason: LossReason, note: &str) -> Option<LeaseId> {
        let grant = self.tables.grants.get(&token)?;
        let (lock, lease, mode, request) = (grant.lock.clone(), grant.lease, grant.mode, grant.request);
        let (owner, delay_ms) = (grant.owner.clone(), grant.extras.lock_delay_ms());
        let waited_for = self.tables.locks.get(&lock).is_some_and(|lock| lock.waiters() > 0);
        let upgrade = if waited_for { self.tables.upgrade_of(token) } else { None };
        let kind =
            EventKind::Lost { name: lock.name().to_owned(), token, mode, lease, owner, reason, note: note.to_owned() };
        self.emit(lock.namespace(), kind);
        if let Some(upgrade) = upgrade {
            // It hangs on the grant, and what is known of it is known through the grant.
            self.end_waiter(upgrade, reason, false);
        }
        self.tables.remove_grant(token);
        if waited_for {
            self.freed.insert(lock.clone());
        }
        if reason == LossReason::Forced {
            self.tables.count_forced(lease);
        }
        if delay_ms > 0 && matches!(reason, LossReason::Expired | LossReason::Forced) {
            self.tables.put_delay(lock.clone(), self.now().plus_ms(delay_ms));
        }
        let note = (!note.is_empty()).then(|| note.into());
        let number = self.next_loss();
        self.tables.put_loss(lock, Loss { number, token, reason, at: self.now(), note });
        if self.tables.losses.len() > self.bounds.losses_max {
            let oldest = self.tables.losses.oldest().expect("there are too many");
            self.tables.remove_loss(oldest);
        }
        self.lose_one(request, reason);
        Some(lease)
    }

    /// One of the grants of a request is gone; with the last one the request has ended.
    pub(super) fn lose_one(&mut self, id: RequestId, reason: LossReason) {
        let Some(request) = self.tables.requests.get_mut(&id) else { return };
        let RequestState::Granted { first, live, .. } = &mut request.state else { return };
        // Not stored, so the ledger need not know.
        *live -= 1;
        if *live == 0 {
            let first = *first;
            self.end_request(id, reason, Some(first));
        }
    }

    fn close_empty_lease(&mut self, id: LeaseId, reason: LossReason, owner: Arc<str>) {
        let Some(lease) = self.tables.remove_lease(id) else { return };
        self.emit(&lease.namespace, EventKind::LeaseEnded { lease: id, owner, reason });
        let number = self.next_loss();
        self.tables.put_lease_end(id, LeaseEnd { number, reason });
        if self.tables.lease_ends.len() > self.bounds.losses_max {
            let oldest = self.tables.lease_ends.oldest().expect("there are too many");
            self.tables.remove_lease_end(oldest);
        }
    }

    fn next_loss(&mut self) -> u64 {
        let number = self.tables.header.next_loss;
        self.tables.header.next_loss += 1;
        number
    }
}
