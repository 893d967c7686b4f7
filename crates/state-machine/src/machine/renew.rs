use super::StateMachine;
use super::validate::invalid;
use crate::{FencingToken, LeaseId, Outcome, RENEWALS_MAX, Refusal, Renew, RenewLease, Renewed};

/// A renewal that nothing stands against.
struct Renewal {
    lease: LeaseId,
    ttl_ms: u64,
    /// Whether its deadline may move back.
    exact: bool,
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
        if !renew.all_or_nothing {
            let one = |renewal| self.renewal(renewal).map_or_else(|answer| answer, |renewal| self.perform(&renewal));
            return Ok(Outcome::Renewed(renew.leases.iter().map(one).collect()));
        }
        // What is done is what was looked at, even where one lease is named twice.
        let looked: Vec<_> = renew.leases.iter().map(|renewal| self.renewal(renewal)).collect();
        let spare = looked.iter().any(Result::is_err);
        let answer = |looked: Result<Renewal, Renewed>| match looked {
            Err(answer) => answer,
            Ok(_) if spare => Renewed::Untouched,
            Ok(renewal) => self.perform(&renewal),
        };
        Ok(Outcome::Renewed(looked.into_iter().map(answer).collect()))
    }

    fn perform(&mut self, renewal: &Renewal) -> Renewed {
        let lease = self.tables.leases.get(&renewal.lease).expect("a lease that can be renewed exists");
        let (before, forced) = (lease.deadline, lease.forced);
        let asked = self.now().plus_ms(renewal.ttl_ms);
        let deadline = if renewal.exact { asked } else { asked.max(before) };
        self.tables.renew_lease(renewal.lease, renewal.ttl_ms, deadline);
        Renewed::Alive { left_ms: self.now().ms_until(deadline), forced }
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
            let lost = self.tables.losses.of_token(token);
            return Err(Renewed::Gone { reason: lost.map(|(_, loss)| loss.reason) });
        }
        let ttl_ms = renewal.ttl_ms.unwrap_or(lease.ttl_ms);
        let limits = self.tables.limits(&lease.namespace);
        // A ttl that the lease has already stays good when limits are lowered.
        if ttl_ms != lease.ttl_ms && !(limits.ttl_ms_min..=limits.ttl_ms_max).contains(&ttl_ms) {
            return Err(Renewed::TtlOutOfRange { min_ms: limits.ttl_ms_min, max_ms: limits.ttl_ms_max });
        }
        Ok(Renewal { lease: id, ttl_ms, exact: renewal.exact.is_some() })
    }

    fn hangs_on(&self, token: FencingToken, lease: LeaseId) -> bool {
        self.tables.grants.get(&token).is_some_and(|grant| grant.lease == lease)
    }
}
