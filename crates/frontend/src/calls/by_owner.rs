//! What doors do whose clients know locks by owner (Dapr, Redis): compare who holds, then act by one command over the tokens that
//! were compared. An owner never changes under a token, so a command that finds the token still current acts on exactly
//! what was compared, however old the look was. Only what leads to no command has to be looked at after a read barrier.

use leasehold_state_machine::{
    FencingToken, HeldLock, Holding, LeaseId, LogTime, LossReason, Occupant, Operation, Outcome, Release, Renew,
    RenewLease, Renewed,
};

use super::{CallTime, Calls};
use crate::{CallError, validate};

/// Looks, each after a barrier, before a call gives up because the lock goes from hand to hand.
const LOOKS_MAX: usize = 16;

/// What became of a command over tokens that were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acted {
    /// On all of them.
    Done,
    /// On none: one of them is no longer current. Look again.
    Moved,
}

/// What became of an unlock by owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unlocked {
    /// The owner held it, and has let go.
    Released,
    /// Nobody holds it.
    NotHeld,
    /// Somebody else does.
    HeldByOther,
}

impl Calls {
    /// Who has these locks by this node's applied state, all at one moment. Linearizable after [`Calls::barrier`]. With the clock that
    /// the barrier told, the times left are as of then: the applied state knows the time of its last entry only.
    pub(crate) fn occupants(&self, namespace: &str, names: &[String], clock: Option<LogTime>) -> Vec<Occupant> {
        let state = self.node.state();
        let passed = clock.map_or(0, |clock| state.now().ms_until(clock));
        let occupant = |name: &String| {
            let mut occupant = state.occupant(namespace, name);
            match &mut occupant {
                Occupant::One(Holding { left_ms, .. }) | Occupant::Delayed { left_ms } => {
                    *left_ms = left_ms.saturating_sub(passed);
                }
                Occupant::Nobody | Occupant::Several { .. } => {}
            }
            occupant
        };
        names.iter().map(occupant).collect()
    }

    /// What is looked at after it is linearizable. Tells the leader's clock, where the leader does.
    pub(crate) async fn barrier(&self, time: CallTime) -> Result<Option<LogTime>, CallError> {
        self.open()?;
        Ok(self.node.read_barrier(time.deadline()).await?)
    }

    /// Releases all of these grants, or none.
    pub(crate) async fn release_compared(
        &self,
        namespace: &str,
        locks: Vec<HeldLock>,
        time: CallTime,
    ) -> Result<Acted, CallError> {
        self.open()?;
        let all_or_nothing = locks.len() > 1;
        let release = Release { namespace: namespace.to_owned(), locks, all_or_nothing };
        let submitted = self.node.submit_noting_repeats(Operation::Release(release), time.deadline()).await?;
        match submitted.outcome {
            Outcome::Released(released) => {
                let by_first_send = |reason| submitted.repeated && reason == Some(LossReason::Released);
                let done = released.iter().all(|one| one.released || by_first_send(one.reason));
                Ok(if done { Acted::Done } else { Acted::Moved })
            }
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => Err(CallError::ForeignOutcome { command: "Release" }),
        }
    }

    /// Sets the time left of the leases that all of these grants hang on to exactly `ttl_ms`, or of none.
    pub(crate) async fn renew_compared(
        &self,
        grants: &[(LeaseId, FencingToken)],
        ttl_ms: u64,
        time: CallTime,
    ) -> Result<Acted, CallError> {
        self.open()?;
        let renewal = |(lease, token): &(LeaseId, FencingToken)| RenewLease {
            lease: *lease,
            ttl_ms: Some(ttl_ms),
            exact: Some(*token),
        };
        let renew = Renew { leases: grants.iter().map(renewal).collect(), all_or_nothing: grants.len() > 1 };
        match self.node.submit(Operation::Renew(renew), time.deadline()).await? {
            Outcome::Renewed(renewed) => {
                for one in &renewed {
                    if let Renewed::TtlOutOfRange { min_ms, max_ms } = one {
                        let problem = format!("{ttl_ms} is not between {min_ms} and {max_ms}");
                        return Err(CallError::invalid("ttl_ms", problem));
                    }
                }
                let done = renewed.iter().all(|one| matches!(one, Renewed::Alive { .. }));
                Ok(if done { Acted::Done } else { Acted::Moved })
            }
            Outcome::Refused(refusal) => Err(refusal.into()),
            _ => Err(CallError::ForeignOutcome { command: "Renew" }),
        }
    }

    /// Releases a lock if `owner` holds it alone.
    pub(crate) async fn unlock_by_owner(
        &self,
        namespace: &str,
        name: &str,
        owner: &str,
        time: CallTime,
    ) -> Result<Unlocked, CallError> {
        self.open()?;
        validate::lock_name("name", name, &self.limits(namespace))?;
        let names = [name.to_owned()];
        for look in 0..=LOOKS_MAX {
            if look > 0 {
                self.barrier(time).await?;
            }
            let unlocked = match self.occupants(namespace, &names, None).pop() {
                Some(Occupant::One(holding)) if holding.owner == owner => {
                    let held = vec![HeldLock { name: name.to_owned(), token: holding.token }];
                    match self.release_compared(namespace, held, time).await? {
                        Acted::Done => return Ok(Unlocked::Released),
                        Acted::Moved => continue,
                    }
                }
                Some(Occupant::One(_) | Occupant::Several { .. }) => Unlocked::HeldByOther,
                Some(Occupant::Nobody | Occupant::Delayed { .. }) | None => Unlocked::NotHeld,
            };
            if look > 0 {
                return Ok(unlocked);
            }
        }
        Err(CallError::Moving { looks: LOOKS_MAX })
    }
}
