//! `OpenSession`, and the end of a lease by `CloseLease`.

use leasehold_state_machine::{
    Closed, EventKind, LeaseId, LossReason, NAMESPACE_BYTES_MAX, OpenSession, Opened, Outcome, Refusal,
};

use crate::check::{BadFields, is_bad_text};
use crate::rows::Lease;
use crate::{Model, limit_reached};

impl Model {
    pub(crate) fn open_session(&mut self, open: &OpenSession) -> Outcome {
        // As of an acquire: what is known of the id decides first, so that a duplicate is answered under other limits too.
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
        if let Some(refused) = self.refuse_bad(&self.check_session(open)) {
            return refused;
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
                forced: 0,
                session: Some(open.clone()),
                grants: Default::default(),
                waiters: Default::default(),
            },
        );
        self.emit(&open.namespace, EventKind::SessionOpened { lease: open.session, owner: open.owner.as_str().into() });
        Outcome::Opened(Opened { left_ms: open.ttl_ms })
    }

    fn check_session(&self, open: &OpenSession) -> BadFields {
        let limits = self.limits_of(&open.namespace);
        let mut bad = BadFields::default();
        bad.note(!open.session.is_session(), "session");
        bad.note(is_bad_text(&open.namespace, NAMESPACE_BYTES_MAX), "namespace");
        bad.note(open.ttl_ms < limits.ttl_ms_min || open.ttl_ms > limits.ttl_ms_max, "ttl_ms");
        bad.note(is_bad_text(&open.owner, limits.owner_bytes_max as usize), "owner");
        bad.note(open.metadata.len() > limits.metadata_bytes_max as usize, "metadata");
        bad
    }

    pub(crate) fn close(&mut self, id: LeaseId) -> Outcome {
        self.touch_lease(id);
        let lease = self.tables.leases.get(&id);
        let (closed, grants_ended) = (lease.is_some(), lease.map_or(0, |lease| lease.grants.len() as u32));
        self.end_lease(id, LossReason::LeaseClosed);
        Outcome::Closed(Closed { closed, grants_ended })
    }
}
