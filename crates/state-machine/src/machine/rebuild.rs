//! What follows from the rows, rebuilt and checked on restore.

use super::deadlines::Item;
use super::keys::WaiterId;
use super::restore::{RestoreError, inconsistent};
use super::rows::{Claim, Request, RequestState};
use super::tables::Tables;
use crate::{FencingToken, LeaseId, LeaseRequest, Mode};

impl Tables {
    /// Builds every index, in an order in which each finds what it needs, and checks that the rows agree.
    pub(super) fn rebuild(&mut self) -> Result<(), RestoreError> {
        self.rebuild_leases()?;
        self.rebuild_requests()?;
        self.rebuild_grants()?;
        self.rebuild_waiters()?;
        self.check_losses()?;
        self.rebuild_delays()?;
        self.check_complete()
    }

    fn rebuild_leases(&mut self) -> Result<(), RestoreError> {
        let ids: Vec<LeaseId> = self.leases.keys().copied().collect();
        for id in ids {
            let given = id.is_session() || id.0 < u128::from(self.header.next_lease);
            check(given, || format!("lease {id} was never given out"))?;
            let mut lease = self.leases.remove(&id).expect("the id comes from this table");
            check(id.is_session() == lease.session.is_some(), || format!("lease {id} and its id disagree"))?;
            lease.namespace = self.intern_namespace(&lease.namespace);
            self.index_lease(id, &lease);
            self.leases.insert(id, lease);
        }
        Ok(())
    }

    fn rebuild_requests(&mut self) -> Result<(), RestoreError> {
        for (id, request) in &self.requests {
            match request.state {
                RequestState::Waiting { waiter } => {
                    let named = self.waiters.get(&waiter).is_some_and(|waiter| waiter.claim.request == *id);
                    check(named, || format!("request {id} waits without a waiter"))?;
                }
                RequestState::Granted { first, locks, .. } => {
                    let end = first.0.checked_add(u64::from(locks));
                    let given = end.is_some_and(|end| end <= self.header.next_token);
                    check(given, || format!("request {id} has tokens that were never given out"))?;
                }
                RequestState::Held { until } | RequestState::Told { until, .. } | RequestState::Ended { until, .. } => {
                    self.deadlines.insert(until, Item::Request(*id));
                }
            }
        }
        for (client, instance) in &self.instances {
            self.deadlines.insert(instance.until, Item::Instance(*client));
        }
        Ok(())
    }

    fn rebuild_grants(&mut self) -> Result<(), RestoreError> {
        let tokens: Vec<FencingToken> = self.grants.keys().copied().collect();
        for token in tokens {
            let mut grant = self.grants.remove(&token).expect("the token comes from this table");
            grant.lock = self.intern_lock(grant.lock);
            let lock = &grant.lock;
            let lease = self.leases.get(&grant.lease);
            let lease = lease.ok_or_else(|| inconsistent(format!("grant {token} hangs on no lease")))?;
            check(*lease.namespace == *lock.namespace(), || {
                format!("grant {token} lies outside its lease's namespace")
            })?;
            let admitted = self.locks.get(lock).is_none_or(|lock| lock.load.admits(grant.mode));
            check(admitted, || format!("grant {token} is beside another on {lock:?}"))?;
            match self.requests.get_mut(&grant.request) {
                Some(Request { state: RequestState::Granted { first, locks, live, .. }, .. })
                    if (first.0..first.0 + u64::from(*locks)).contains(&token.0) =>
                {
                    *live += 1;
                }
                _ => return Err(inconsistent(format!("grant {token} is not its request's"))),
            }
            self.index_grant(token, &grant);
            self.grants.insert(token, grant);
        }
        Ok(())
    }

    fn rebuild_waiters(&mut self) -> Result<(), RestoreError> {
        let ids: Vec<WaiterId> = self.waiters.keys().copied().collect();
        for id in ids {
            check(id.0 < self.header.next_waiter, || format!("waiter {} was never numbered", id.0))?;
            let mut waiter = self.waiters.remove(&id).expect("the id comes from this table");
            self.intern_claim(&mut waiter.claim);
            let waits = matches!(
                self.requests.get(&waiter.claim.request),
                Some(Request { state: RequestState::Waiting { waiter }, .. }) if *waiter == id
            );
            check(waits && !waiter.claim.wanted.is_empty(), || format!("waiter {} is not its request's", id.0))?;
            self.check_claim(&waiter.claim).map_err(|what| inconsistent(format!("waiter {}: {what}", id.0)))?;
            self.index_waiter(id, &waiter);
            self.waiters.insert(id, waiter);
        }
        Ok(())
    }

    /// What a waiter hangs on is there.
    fn check_claim(&self, claim: &Claim) -> Result<(), String> {
        match claim.lease {
            LeaseRequest::Own { .. } => Ok(()),
            LeaseRequest::Session { session } => match self.leases.get(&session) {
                Some(lease) if lease.session.is_some() && lease.namespace == claim.namespace => Ok(()),
                _ => Err(format!("its session {session} is not open in its namespace")),
            },
            LeaseRequest::Convert { token } => {
                let grant = self.grants.get(&token).filter(|grant| grant.mode == Mode::Shared);
                let same = grant.is_some_and(|grant| claim.wanted.len() == 1 && grant.lock == claim.wanted[0].lock);
                let lock = self.locks.get(&claim.wanted[0].lock);
                if same && lock.is_some_and(|lock| lock.upgrade().is_none()) {
                    return Ok(());
                }
                Err(format!("token {token} is no shared grant for it to convert, or another one converts it"))
            }
        }
    }

    fn rebuild_delays(&mut self) -> Result<(), RestoreError> {
        for (lock, delay) in std::mem::take(&mut self.delays) {
            let new = !self.delays_by_number.contains_key(&delay.number) && delay.number < self.header.next_delay;
            check(new, || format!("lock-delay of {lock:?} has another's number"))?;
            let lock = self.intern_lock(lock);
            self.index_delay(lock.clone(), delay);
            self.delays.insert(lock, delay);
        }
        Ok(())
    }

    fn intern_claim(&self, claim: &mut Claim) {
        claim.namespace = self.intern_namespace(&claim.namespace);
        for wanted in &mut claim.wanted {
            wanted.lock = self.intern_lock(wanted.lock.clone());
        }
    }

    fn check_losses(&self) -> Result<(), RestoreError> {
        let next = self.header.next_loss;
        for (lock, loss) in self.losses.ages().filter_map(|age| self.losses.row(age)) {
            check(loss.number < next, || format!("loss of {lock:?} has a number to come"))?;
            let ended = loss.token.0 < self.header.next_token && !self.grants.contains_key(&loss.token);
            check(ended, || format!("loss of {lock:?} is of token {}, which never ended", loss.token))?;
        }
        let last = self.lease_ends.newest();
        check(last.is_none_or(|last| last < next), || format!("end {last:?} of a lease has a number to come"))?;
        Ok(())
    }

    /// What no single row can show.
    fn check_complete(&self) -> Result<(), RestoreError> {
        for (id, lease) in &self.leases {
            check(id.is_session() || !lease.grants.is_empty(), || format!("lease {id} of its own holds nothing"))?;
        }
        for (id, request) in &self.requests {
            let empty = matches!(request.state, RequestState::Granted { live: 0, .. });
            check(!empty, || format!("request {id} holds nothing"))?;
        }
        Ok(())
    }
}

fn check(holds: bool, what: impl FnOnce() -> String) -> Result<(), RestoreError> {
    if holds { Ok(()) } else { Err(inconsistent(what())) }
}
