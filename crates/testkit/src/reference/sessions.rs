//! `OpenSession`, and the end of a lease by `CloseLease`.

use leasehold_state_machine::{
    Closed, EventKind, LeaseId, LossReason, NAMESPACE_BYTES_MAX, OpenSession, Opened, Outcome, Refusal,
};

use super::check::is_bad_text;
use super::tables::Lease;
use super::{Model, invalid, limit_reached};

impl Model {
    pub(super) fn open_session(&mut self, open: &OpenSession) -> Outcome {
        if let Some(field) = self.bad_session(open) {
            return invalid(field);
        }
        self.touch_lease(open.session);
        if let Some(lease) = self.tables.leases.get(&open.session) {
            if lease.session.as_ref() != Some(open) {
                return Outcome::Refused(Refusal::BodyMismatch);
            }
            return Outcome::Opened(Opened { left_ms: lease.deadline - self.now });
        }
        if let Some(reason) = self.tables.lease_ends.reason(open.session) {
            return Outcome::Refused(Refusal::NoSession { session: open.session, reason: Some(reason) });
        }
        let limits = self.limits_of(&open.namespace);
        if self.tables.leases_in(&open.namespace) >= limits.leases_max {
            return limit_reached("leases_max", limits.leases_max);
        }
        self.tables.add_lease(
            open.session,
            Lease {
                namespace: open.namespace.clone(),
                owner: open.owner.clone(),
                ttl_ms: open.ttl_ms,
                deadline: self.now + open.ttl_ms,
                confirm: false,
                since: self.now,
                session: Some(open.clone()),
                grants: Default::default(),
                waiters: Default::default(),
            },
        );
        self.emit(&open.namespace, EventKind::SessionOpened { lease: open.session, owner: open.owner.clone() });
        Outcome::Opened(Opened { left_ms: open.ttl_ms })
    }

    fn bad_session(&self, open: &OpenSession) -> Option<&'static str> {
        let limits = self.limits_of(&open.namespace);
        if !open.session.is_session() {
            Some("session")
        } else if is_bad_text(&open.namespace, NAMESPACE_BYTES_MAX) {
            Some("namespace")
        } else if open.ttl_ms < limits.ttl_ms_min || open.ttl_ms > limits.ttl_ms_max {
            Some("ttl_ms")
        } else if is_bad_text(&open.owner, limits.owner_bytes_max as usize) {
            Some("owner")
        } else if open.metadata.len() > limits.metadata_bytes_max as usize {
            Some("metadata")
        } else {
            None
        }
    }

    pub(super) fn close(&mut self, id: LeaseId) -> Outcome {
        self.touch_lease(id);
        let lease = self.tables.leases.get(&id);
        let (closed, grants_ended) = (lease.is_some(), lease.map_or(0, |lease| lease.grants.len() as u32));
        self.end_lease(id, LossReason::LeaseClosed);
        Outcome::Closed(Closed { closed, grants_ended })
    }
}
