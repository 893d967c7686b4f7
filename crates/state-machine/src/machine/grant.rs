//! How locks are given: to a newcomer at once, or to those who wait when a lock is freed.

use std::collections::BTreeSet;

use super::StateMachine;
use super::keys::WaiterId;
use super::rows::{Claim, Grant, Lease, Request};
use super::tokens::Tokens;
use crate::{Attempt, FencingToken, Granted, GrantedLock, LeaseId, LeaseRequest, RequestId};

impl StateMachine {
    /// Gives freed locks to those who wait for them: in queue order, only to the living. Requests that several freed
    /// locks let go are granted in log order.
    pub(super) fn hand_over(&mut self) {
        let mut candidates = BTreeSet::new();
        loop {
            while let Some(lock) = self.freed.pop_first() {
                if let Some(lock) = self.tables.locks.get(&lock) {
                    candidates.extend(lock.admitted());
                }
            }
            let Some(waiter) = candidates.pop_first() else { return };
            if self.may_go(waiter) && self.touch_waiter(waiter) {
                self.grant_waiter(waiter);
            }
        }
    }

    fn may_go(&self, id: WaiterId) -> bool {
        self.tables.waiters.get(&id).is_some_and(|waiter| self.tables.is_grantable(id, &waiter.claim))
    }

    /// Ends a wait with a grant. The answer may reach its client late, so without a session the client is to renew before
    /// it counts on any time left.
    fn grant_waiter(&mut self, id: WaiterId) {
        let Some(waiter) = self.tables.remove_waiter(id) else { return };
        let Some(&Request { attempt, body, .. }) = self.tables.requests.get(&waiter.claim.request) else { return };
        match waiter.claim.converts() {
            Some(token) => self.replace_grant(token, &waiter.claim, attempt, body),
            None => self.grant(waiter.claim, attempt, body, true),
        };
    }

    /// Makes a grant for each lock, a lease where the request brings none, and the request's record.
    pub(super) fn grant(&mut self, claim: Claim, attempt: Attempt, body: Option<u64>, waited: bool) -> Granted {
        let first = FencingToken(self.tables.header.next_token);
        self.tables.header.next_token += claim.wanted.len() as u64;
        let lease = match claim.lease {
            LeaseRequest::Own { ttl_ms } => self.make_lease(&claim, ttl_ms, waited),
            LeaseRequest::Session { session } => session,
            LeaseRequest::Convert { .. } => unreachable!("a convert replaces a grant"),
        };
        for (token, wanted) in (first.0..).map(FencingToken).zip(&claim.wanted) {
            let grant = Grant {
                lock: self.tables.intern_lock(wanted.lock.clone()),
                lease,
                request: claim.request,
                mode: wanted.mode,
                since: self.now(),
                owner: claim.owner.clone(),
                metadata: claim.metadata.clone(),
                extras: claim.extras.clone(),
            };
            self.tables.insert_grant(token, grant);
        }
        self.record_grant(&claim, attempt, body, first, claim.owner.clone())
    }

    /// A lease of its own for a grant.
    fn make_lease(&mut self, claim: &Claim, ttl_ms: u64, confirm: bool) -> LeaseId {
        let id = LeaseId(u128::from(self.tables.header.next_lease));
        self.tables.header.next_lease += 1;
        let lease = Lease {
            namespace: claim.namespace.clone(),
            ttl_ms,
            deadline: self.now().plus_ms(ttl_ms),
            confirm,
            forced: 0,
            session: None,
            grants: Tokens::None,
        };
        self.tables.insert_lease(id, lease);
        id
    }

    /// What a request holds, with the time that is left of it now.
    pub(super) fn granted_now(&self, id: RequestId) -> Option<Granted> {
        let lease_id = self.lease_of(id)?;
        let lease = self.tables.leases.get(&lease_id)?;
        let grants = self
            .live_grants(id)
            .map(|(token, grant)| GrantedLock { name: grant.lock.name().to_owned(), mode: grant.mode, token })
            .collect();
        let left_ms = if lease.confirm { 0 } else { self.now().ms_until(lease.deadline) };
        Some(Granted { lease: lease_id, grants, left_ms, confirm: lease.confirm, forced: lease.forced })
    }
}
