//! How grants, waits and leases end.

use leasehold_state_machine::{Ended, EventKind, FencingToken, LeaseId, LossReason, REMEMBER_MS, RequestId};

use crate::Model;
use crate::losses::Loss;
use crate::rows::{Fate, Grant, Waiter};

impl Model {
    /// With its grants in token order, then its waits in log order.
    pub(crate) fn end_lease(&mut self, id: LeaseId, reason: LossReason) {
        let Some(lease) = self.tables.leases.get(&id) else { return };
        for token in lease.grants.clone() {
            self.end_grant(token, reason, "");
        }
        // A lease of an acquire's own has gone with its last grant by now.
        let Some(lease) = self.tables.leases.get(&id) else { return };
        for number in lease.waiters.clone() {
            self.end_wait(number, reason, false);
        }
        self.finish_lease(id, reason);
    }

    fn finish_lease(&mut self, id: LeaseId, reason: LossReason) {
        let Some(lease) = self.tables.remove_lease(id) else { return };
        self.emit(&lease.namespace, EventKind::LeaseEnded { lease: id, owner: lease.owner.into(), reason });
        self.tables.lease_ends.remember(id, reason, self.bounds.losses_max);
    }

    /// A lease of an acquire's own closes with its last grant.
    pub(crate) fn end_grant(&mut self, token: u64, reason: LossReason, note: &str) {
        let Some(grant) = self.tables.remove_grant(token) else { return };
        let (namespace, name) = grant.lock.clone();
        self.emit(
            &namespace,
            EventKind::Lost {
                name,
                token: FencingToken(token),
                mode: grant.mode,
                lease: grant.lease,
                owner: grant.owner.as_str().into(),
                reason,
                note: note.to_owned(),
            },
        );
        let loss = Loss { token, reason, note: note.to_owned(), at: self.now };
        self.tables.losses.remember(&grant.lock, loss, self.bounds.losses_max);
        if grant.delay_ms > 0 && matches!(reason, LossReason::Expired | LossReason::Forced) {
            self.tables.delay(&grant.lock, self.now + grant.delay_ms);
        }
        if reason == LossReason::Forced {
            self.tables.leases.get_mut(&grant.lease).expect("a grant hangs on a lease").forced += 1;
        }
        self.end_request_without_grants(&grant, reason);
        self.end_upgrade_of(token, grant.lease, reason);
        let lease = &self.tables.leases[&grant.lease];
        if lease.session.is_none() && lease.grants.is_empty() {
            self.finish_lease(grant.lease, reason);
        }
    }

    /// The request of a grant that went has ended with the last one it had.
    pub(crate) fn end_request_without_grants(&mut self, grant: &Grant, reason: LossReason) {
        let request = grant.request;
        let Some(Fate::Granted { first }) = self.tables.records.get(&request).map(|record| record.fate.clone()) else {
            return;
        };
        if self.tokens_of(request).is_empty() {
            self.bury(request, Ended { reason, token: Some(FencingToken(first)) });
        }
    }

    fn end_upgrade_of(&mut self, token: u64, lease: LeaseId, reason: LossReason) {
        let waiters = self.tables.leases[&lease].waiters.clone();
        for number in waiters {
            if self.tables.waiters[&number].want.converts() == Some(token) {
                self.end_wait(number, reason, false);
            }
        }
    }

    pub(crate) fn end_wait(&mut self, number: u64, reason: LossReason, timed_out: bool) {
        let Some(Waiter { want, .. }) = self.tables.remove_waiter(number) else { return };
        let attempt = self.tables.records[&want.request].attempt;
        let names = want.locks.iter().map(|lock| lock.name.clone()).collect();
        let lease = want.lease();
        self.emit(
            &want.namespace,
            EventKind::WaitEnded {
                request: want.request,
                attempt,
                reason,
                timed_out,
                names,
                owner: want.owner.into(),
                lease,
            },
        );
        self.bury(want.request, Ended { reason, token: None });
    }

    /// Leaves a tombstone, unless the instance's mark refuses the id anyhow.
    fn bury(&mut self, id: RequestId, ended: Ended) {
        if self.mark_above(id).is_some() {
            self.tables.remove_record(id);
        } else {
            self.tables.set_fate(id, Fate::Ended { ended, until: self.now + REMEMBER_MS });
        }
    }

    /// Tokens that a request's grants have now. Those of one request hang on one lease.
    pub(crate) fn tokens_of(&self, request: RequestId) -> Vec<u64> {
        let Some(Fate::Granted { first }) = self.tables.records.get(&request).map(|record| record.fate.clone()) else {
            return Vec::new();
        };
        let grants = self.tables.grants.range(first..);
        // A request's tokens follow one another from the first on.
        let locks = self.tables.records[&request].body.as_ref().map_or(0, |body| body.locks.len());
        let of_request = |(_, grant): &(&u64, &Grant)| grant.request == request;
        grants
            .take_while(|(token, _)| **token < first + locks as u64)
            .filter(of_request)
            .map(|(token, _)| *token)
            .collect()
    }
}
