//! How locks are given: to a newcomer at once, or to those who wait when a lock is freed.

use std::collections::BTreeSet;

use super::StateMachine;
use super::keys::WaiterId;
use super::rows::{Claim, Grant, Lease, Request, RequestState};
use super::tokens::Tokens;
use crate::{Attempt, EventKind, FencingToken, Granted, GrantedLock, LeaseId, RequestId};

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

    /// Ends a wait with a grant. The answer may reach its client late, so the client is to renew before it counts on
    /// any time left.
    fn grant_waiter(&mut self, id: WaiterId) {
        let Some(waiter) = self.tables.remove_waiter(id) else { return };
        let Some(&Request { attempt, body, .. }) = self.tables.requests.get(&waiter.claim.request) else { return };
        self.grant(waiter.claim, attempt, body, true);
    }

    /// Makes a lease, a grant for each lock, and the request's record.
    pub(super) fn grant(&mut self, claim: Claim, attempt: Attempt, body: Option<u64>, confirm: bool) -> Granted {
        let id = claim.request;
        let locks = u32::try_from(claim.wanted.len()).expect("the locks of an acquire are bounded by a u32");
        let first = FencingToken(self.tables.header.next_token);
        self.tables.header.next_token += u64::from(locks);
        let lease = LeaseId(u128::from(self.tables.header.next_lease));
        self.tables.header.next_lease += 1;
        let now = self.now();
        self.tables.insert_lease(
            lease,
            Lease {
                namespace: claim.namespace.clone(),
                ttl_ms: claim.ttl_ms,
                deadline: now.plus_ms(claim.ttl_ms),
                confirm,
                grants: Tokens::None,
            },
        );
        for (token, wanted) in (first.0..).map(FencingToken).zip(claim.wanted) {
            let grant = Grant {
                lock: self.tables.intern_lock(wanted.lock),
                lease,
                request: id,
                mode: wanted.mode,
                since: now,
                owner: claim.owner.clone(),
                metadata: claim.metadata.clone(),
            };
            self.tables.insert_grant(token, grant);
        }
        self.tables
            .put_request(id, Request { attempt, body, state: RequestState::Granted { first, locks, live: locks } });
        let granted = self.granted_now(id).expect("the request was granted just now");
        let kind =
            EventKind::Granted { request: id, attempt, granted: granted.clone(), owner: claim.owner.into_string() };
        self.emit(&claim.namespace, kind);
        granted
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
        Some(Granted { lease: lease_id, grants, left_ms, confirm: lease.confirm })
    }
}
