use super::StateMachine;
use super::validate::invalid;
use crate::{Outcome, RENEWALS_MAX, Refusal, Renew, RenewLease, Renewed};

impl StateMachine {
    /// Renews each lease for itself. A deadline never moves back, so a reordered renewal does no harm.
    pub(super) fn renew(&mut self, renew: &Renew) -> Result<Outcome, Refusal> {
        if renew.leases.len() > RENEWALS_MAX {
            let problem = format!("names {} leases, at most {RENEWALS_MAX} are allowed", renew.leases.len());
            return Err(invalid("leases", problem));
        }
        Ok(Outcome::Renewed(renew.leases.iter().map(|renewal| self.renew_one(renewal)).collect()))
    }

    fn renew_one(&mut self, renewal: &RenewLease) -> Renewed {
        self.touch_lease(renewal.lease);
        let Some(lease) = self.tables.leases.get(&renewal.lease) else {
            return Renewed::Gone { reason: self.tables.lease_ends.get(&renewal.lease).map(|end| end.reason) };
        };
        let ttl_ms = renewal.ttl_ms.unwrap_or(lease.ttl_ms);
        let limits = self.tables.limits(&lease.namespace);
        let allowed = limits.ttl_ms_min..=limits.ttl_ms_max;
        // A ttl that the lease has already stays good when limits are lowered.
        if ttl_ms != lease.ttl_ms && !allowed.contains(&ttl_ms) {
            return Renewed::TtlOutOfRange { min_ms: limits.ttl_ms_min, max_ms: limits.ttl_ms_max };
        }
        let deadline = lease.deadline.max(self.now().plus_ms(ttl_ms));
        self.tables.renew_lease(renewal.lease, ttl_ms, deadline);
        Renewed::Alive { left_ms: self.now().ms_until(deadline) }
    }
}
