//! `Renew`: each lease for itself, or all or none of them.

use leasehold_state_machine::{Outcome, RENEWALS_MAX, Renew, RenewLease, Renewed};

use crate::{Model, invalid};

impl Model {
    pub(crate) fn renew(&mut self, renew: &Renew) -> Outcome {
        if renew.leases.len() > RENEWALS_MAX {
            return invalid("leases");
        }
        if let Some(at) = renew.leases.iter().position(|one| one.exact.is_some() && one.ttl_ms.is_none()) {
            return invalid(format!("leases[{at}].ttl_ms"));
        }
        let mut renewed = Vec::new();
        for one in &renew.leases {
            self.touch_lease(one.lease);
            renewed.push(match self.cannot_renew(one) {
                Some(obstacle) => obstacle,
                None if renew.all_or_nothing => Renewed::Untouched,
                None => self.renew_one(one),
            });
        }
        if renew.all_or_nothing && renewed.iter().all(|one| *one == Renewed::Untouched) {
            // As it was looked at: one lease may be named twice.
            let ttl_ms = |one: &RenewLease| one.ttl_ms.unwrap_or(self.tables.leases[&one.lease].ttl_ms);
            let looked_at = renew.leases.iter().map(|one| RenewLease { ttl_ms: Some(ttl_ms(one)), ..*one });
            renewed = looked_at.collect::<Vec<_>>().iter().map(|one| self.renew_one(one)).collect();
        }
        Outcome::Renewed(renewed)
    }

    fn cannot_renew(&self, one: &RenewLease) -> Option<Renewed> {
        let Some(lease) = self.tables.leases.get(&one.lease) else {
            return Some(Renewed::Gone { reason: self.tables.lease_ends.reason(one.lease) });
        };
        if let Some(token) = one.exact
            && !lease.grants.contains(&token.0)
        {
            let lock = self.tables.losses.lock_of(token.0);
            let reason = lock.and_then(|lock| self.why_lost(lock, token.0));
            return Some(Renewed::Gone { reason });
        }
        let limits = self.limits_of(&lease.namespace);
        let (min_ms, max_ms) = (limits.ttl_ms_min, limits.ttl_ms_max);
        let changed = one.ttl_ms.filter(|ttl_ms| *ttl_ms != lease.ttl_ms)?;
        (changed < min_ms || changed > max_ms).then_some(Renewed::TtlOutOfRange { min_ms, max_ms })
    }

    fn renew_one(&mut self, one: &RenewLease) -> Renewed {
        let lease = self.tables.leases.get_mut(&one.lease).expect("the lease is alive");
        lease.ttl_ms = one.ttl_ms.unwrap_or(lease.ttl_ms);
        lease.confirm = false;
        let forced = lease.forced;
        let asked = self.now + lease.ttl_ms;
        let deadline = if one.exact.is_some() { asked } else { lease.deadline.max(asked) };
        self.tables.set_deadline(one.lease, deadline);
        Renewed::Alive { left_ms: deadline - self.now, forced }
    }
}
