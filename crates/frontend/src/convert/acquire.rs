//! What became of taking, giving back and changing locks.

use leasehold_proto::v1;
use leasehold_proto::v1::acquire_response::Result as Acquired;
use leasehold_state_machine::{
    Cancelled, Deadlock, DeadlockStep, Ended, Granted, GrantedLock, Held, Released, ValueSet,
};

use super::lock::holder;
use super::{WireMode, loss_reason, wire_mode};

fn response(result: Acquired) -> v1::AcquireResponse {
    v1::AcquireResponse { result: Some(result) }
}

pub(crate) fn granted(granted: Granted) -> v1::AcquireResponse {
    response(Acquired::Granted(v1::Granted {
        lease: granted.lease.to_string(),
        grants: granted.grants.into_iter().map(grant).collect(),
        // Nothing can be counted from a send that a wait lies behind.
        ttl_ms: if granted.confirm { 0 } else { granted.left_ms },
        confirm: granted.confirm,
        forced: granted.forced,
    }))
}

pub(super) fn grant(lock: GrantedLock) -> v1::Grant {
    let WireMode { mode, permits, limit } = wire_mode(lock.mode);
    v1::Grant { name: lock.name, mode, token: lock.token.0, permits, limit }
}

pub(crate) fn held(held: Held) -> v1::AcquireResponse {
    let Held { name, holders, waiters, by_self, delay_left_ms } = held;
    let holders = holders.into_iter().map(holder).collect();
    response(Acquired::Held(v1::Held { name, holders, waiters, by_self, delay_left_ms }))
}

pub(crate) fn ended(ended: Ended) -> v1::AcquireResponse {
    let token = ended.token.map_or(0, |token| token.0);
    response(Acquired::Ended(v1::Ended { reason: loss_reason(Some(ended.reason)).into(), token }))
}

pub(crate) fn wait_ended(waiters: u32) -> v1::AcquireResponse {
    response(Acquired::WaitEnded(v1::WaitEnded { waiters }))
}

pub(crate) fn deadlock(deadlock: Deadlock) -> v1::AcquireResponse {
    let step = |step: DeadlockStep| {
        let DeadlockStep { lease, actor, owner, name } = step;
        v1::DeadlockStep { session: lease.to_string(), actor, owner, name }
    };
    response(Acquired::Deadlock(v1::Deadlock { cycle: deadlock.cycle.into_iter().map(step).collect() }))
}

pub(crate) fn cancelled(cancelled: Cancelled) -> v1::CancelAcquireResponse {
    let mut response = v1::CancelAcquireResponse::default();
    match cancelled {
        Cancelled::LeftQueue => response.left_queue = true,
        Cancelled::UndidGrant => response.undid_grant = true,
        Cancelled::Kept { token, mode } => {
            response.kept_token = token.0;
            response.kept_mode = wire_mode(mode).mode;
        }
        Cancelled::Superseded | Cancelled::NotFound => {}
    }
    response
}

/// `listed`: the request named its locks in a list, and is answered so.
pub(crate) fn released(all: &[Released], listed: bool) -> v1::ReleaseResponse {
    let gone = all.iter().find(|lock| !lock.released && !lock.still_held);
    let one = |lock: &Released| v1::ReleasedLock {
        released: lock.released,
        reason: loss_reason(lock.reason).into(),
        still_held: lock.still_held,
    };
    v1::ReleaseResponse {
        released: all.iter().all(|lock| lock.released),
        reason: loss_reason(gone.and_then(|lock| lock.reason)).into(),
        locks: if listed { all.iter().map(one).collect() } else { Vec::new() },
    }
}

pub(crate) fn force_released(released: Released) -> v1::ForceReleaseResponse {
    v1::ForceReleaseResponse { released: released.released, reason: loss_reason(released.reason).into() }
}

pub(crate) fn value_set(set: ValueSet) -> v1::SetValueResponse {
    match set {
        ValueSet::Set { version } => v1::SetValueResponse { set: true, version, ..Default::default() },
        ValueSet::Conflict { version } => v1::SetValueResponse { version, ..Default::default() },
        ValueSet::NotHeld { reason } => {
            v1::SetValueResponse { not_held: true, reason: loss_reason(reason).into(), ..Default::default() }
        }
    }
}

#[cfg(test)]
mod tests {
    use leasehold_state_machine::{LossReason, Mode};

    use super::*;

    #[test]
    fn the_reason_of_several_releases_is_that_of_the_first_which_was_gone() {
        let one = |released, reason, still_held| Released { released, reason, still_held };
        let kept = [one(false, None, true), one(false, Some(LossReason::Forced), false)];
        let response = released(&kept, true);
        assert_eq!((response.released, response.reason()), (false, v1::LossReason::Forced));
        assert!(response.locks[0].still_held && !response.locks[1].still_held);
        let response = released(&[one(true, None, false)], false);
        assert!(response.released && response.locks.is_empty());
    }

    #[test]
    fn permits_come_with_their_numbers_and_other_modes_without() {
        let permits = wire_mode(Mode::Permits { permits: 2, limit: 5 });
        assert_eq!(permits, WireMode { mode: v1::Mode::Permits.into(), permits: 2, limit: 5 });
        assert_eq!(wire_mode(Mode::Shared), WireMode { mode: v1::Mode::Shared.into(), permits: 0, limit: 0 });
    }
}
