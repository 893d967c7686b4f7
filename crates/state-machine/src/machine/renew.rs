use super::StateMachine;
use super::validate::invalid;
use crate::{FencingToken, LeaseId, LogTime, Outcome, RENEWALS_MAX, Refusal, Renew, RenewLease, Renewed};

/// A renewal that nothing stands against.
struct Renewal {
    ttl_ms: u64,
    deadline: LogTime,
    forced: u64,
}

impl StateMachine {
    /// Renews leases and sessions, each for itself or all or none. A deadline never moves back, so a reordered renewal
    /// does no harm, unless one asks for an exact time.
    pub(super) fn renew(&mut self, renew: &Renew) -> Result<Outcome, Refusal> {
        if renew.leases.len() > RENEWALS_MAX {
            let problem = format!("names {} leases, at most {RENEWALS_MAX} are allowed", renew.leases.len());
            return Err(invalid("leases", problem));
        }
        if let Some(at) = renew.leases.iter().position(|one| one.exact.is_some() && one.ttl_ms.is_none()) {
            return Err(invalid(format!("leases[{at}].ttl_ms"), "an exact deadline needs one"));
        }
        let spare = renew.all_or_nothing && !renew.leases.iter().all(|renewal| self.renewal(renewal).is_ok());
        let renewed = renew.leases.iter().map(|renewal| self.renew_one(renewal, spare)).collect();
        Ok(Outcome::Renewed(renewed))
    }

    fn renew_one(&mut self, renewal: &RenewLease, spare: bool) -> Renewed {
        match self.renewal(renewal) {
            Err(answer) => answer,
            Ok(_) if spare => Renewed::Untouched,
            Ok(Renewal { ttl_ms, deadline, forced }) => {
                self.tables.renew_lease(renewal.lease, ttl_ms, deadline);
                Renewed::Alive { left_ms: self.now().ms_until(deadline), forced }
            }
        }
    }

    /// What a renewal comes to; `Err` when it cannot be.
    fn renewal(&mut self, renewal: &RenewLease) -> Result<Renewal, Renewed> {
        let id = renewal.lease;
        self.touch_lease(id);
        let Some(lease) = self.tables.leases.get(&id) else {
            return Err(Renewed::Gone { reason: self.lease_end(id) });
        };
        if let Some(token) = renewal.exact
            && !self.hangs_on(token, id)
        {
            let lost = self.tables.losses_by_token.get(&token).and_then(|lock| self.tables.losses.get(lock));
            return Err(Renewed::Gone { reason: lost.map(|loss| loss.reason) });
        }
        let ttl_ms = renewal.ttl_ms.unwrap_or(lease.ttl_ms);
        let limits = self.tables.limits(&lease.namespace);
        // A ttl that the lease has already stays good when limits are lowered.
        if ttl_ms != lease.ttl_ms && !(limits.ttl_ms_min..=limits.ttl_ms_max).contains(&ttl_ms) {
            return Err(Renewed::TtlOutOfRange { min_ms: limits.ttl_ms_min, max_ms: limits.ttl_ms_max });
        }
        let asked = self.now().plus_ms(ttl_ms);
        let deadline = if renewal.exact.is_some() { asked } else { asked.max(lease.deadline) };
        Ok(Renewal { ttl_ms, deadline, forced: lease.forced })
    }

    fn hangs_on(&self, token: FencingToken, lease: LeaseId) -> bool {
        self.tables.grants.get(&token).is_some_and(|grant| grant.lease == lease)
    }
}
