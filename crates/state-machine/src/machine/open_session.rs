use super::ledger::body_hash;
use super::rows::{Lease, Session};
use super::tokens::Tokens;
use super::{StateMachine, validate, validate::invalid, validate::limit_reached};
use crate::{EventKind, OpenSession, Opened, Outcome, Refusal, codec};

impl StateMachine {
    /// Opens a session, once for its id. A duplicate is told what is left, and renews nothing; an id that has ended, as far
    /// as that is remembered, does not come back.
    pub(super) fn open_session(&mut self, open: &OpenSession) -> Result<Outcome, Refusal> {
        let session = open.session;
        if !session.is_session() {
            return Err(invalid("session", "is an id that only the cluster gives: the first half must not be 0"));
        }
        self.touch_lease(session);
        let body = body_hash(&codec::encode(open));
        if let Some(lease) = self.tables.leases.get(&session) {
            return match &lease.session {
                Some(known) if known.body == body => {
                    Ok(Outcome::Opened(Opened { left_ms: self.now().ms_until(lease.deadline) }))
                }
                _ => Err(Refusal::BodyMismatch),
            };
        }
        if let Some(reason) = self.lease_end(session) {
            return Err(Refusal::NoSession { session, reason: Some(reason) });
        }
        let limits = self.tables.limits(&open.namespace);
        validate::open_session(open, limits)?;
        if self.tables.leases_in(&open.namespace) >= limits.leases_max {
            return Err(limit_reached("leases_max", limits.leases_max));
        }
        let now = self.now();
        let lease = Lease {
            namespace: self.tables.intern_namespace(&open.namespace),
            ttl_ms: open.ttl_ms,
            deadline: now.plus_ms(open.ttl_ms),
            confirm: false,
            forced: 0,
            session: Some(Box::new(Session {
                owner: open.owner.as_str().into(),
                metadata: open.metadata.as_str().into(),
                since: now,
                body,
                waits: std::collections::BTreeSet::new(),
                awaited: 0,
            })),
            grants: Tokens::None,
        };
        self.tables.insert_lease(session, lease);
        self.emit(&open.namespace, EventKind::SessionOpened { lease: session, owner: open.owner.as_str().into() });
        Ok(Outcome::Opened(Opened { left_ms: open.ttl_ms }))
    }
}
