//! Short ways to say what needs sessions and modes, on top of [`crate::log`].
#![allow(unreachable_pub, dead_code)]

use crate::log::*;
use leasehold_state_machine::*;

pub const SHARED: Mode = Mode::Shared;
pub const EXCLUSIVE: Mode = Mode::Exclusive;

/// The id of the `n`th session of a test.
pub fn session(n: u64) -> LeaseId {
    LeaseId(u128::from(n) << 64)
}

/// Opens the sessions 1 to `count` at log time 0.
pub fn open_sessions(log: &mut Log, count: u64, ttl_ms: u64) {
    for n in 1..=count {
        assert_eq!(log.one(0, open_session(session(n), ttl_ms)), Outcome::Opened(Opened { left_ms: ttl_ms }));
    }
}

/// The same acquire in this mode.
pub fn mode(operation: Operation, mode: Mode) -> Operation {
    with(operation, |acquire| acquire.locks.iter_mut().for_each(|lock| lock.mode = mode))
}

/// The same acquire under the `n`th session.
pub fn under(operation: Operation, n: u64) -> Operation {
    with(operation, |acquire| acquire.lease = LeaseRequest::Session { session: session(n) })
}

/// The same acquire by a task of its session.
pub fn by(operation: Operation, actor: &str) -> Operation {
    with(operation, |acquire| acquire.actor = Some(actor.into()))
}

/// An acquire under the `client`th session, in this mode.
pub fn wait_in(client: u64, counter: u64, name: &str, how: Mode, wait_ms: u64) -> Operation {
    under(mode(wait_lock(id(client, counter), name, 1, wait_ms), how), client)
}

/// See [`wait_in`].
pub fn try_in(client: u64, counter: u64, name: &str, how: Mode) -> Operation {
    under(mode(try_lock(id(client, counter), name, 1), how), client)
}

/// Converts the grant with this token.
pub fn convert(request: RequestId, name: &str, token: FencingToken, how: Mode, wait: Wait) -> Operation {
    let acquire = acquire_of(request, &[name], 1, wait);
    let plain = Acquire { owner: String::new(), lease: LeaseRequest::Convert { token }, ..acquire };
    mode(Operation::Acquire(plain), how)
}

pub fn close(lease: LeaseId) -> Operation {
    Operation::CloseLease(CloseLease { lease })
}

/// The (first) token of a grant.
pub fn token(granted: &Granted) -> FencingToken {
    granted.grants[0].token
}

impl Log {
    /// Requests that the last entry granted, in order.
    pub fn granted_to(&self) -> Vec<RequestId> {
        self.grants().into_iter().map(|(request, _)| request).collect()
    }

    /// Tokens of all holders.
    pub fn holders(&self, name: &str) -> Vec<FencingToken> {
        self.machine.lock(NS, name).map_or_else(Vec::new, |l| l.holders.iter().map(|holder| holder.token).collect())
    }

    /// Waits that the last entry ended: which, why, and whether their own deadline did it.
    pub fn waits_ended(&self) -> Vec<(RequestId, LossReason, bool)> {
        let ended = |event: &Event| match event.kind {
            EventKind::WaitEnded { request, reason, timed_out, .. } => Some((request, reason, timed_out)),
            _ => None,
        };
        self.events.iter().filter_map(ended).collect()
    }
}
