//! What clients and nodes have sent. A message that was sent once may arrive at any later time, any number of times, in
//! any order, or never: the network is the set of all that was ever sent.

use leasehold_state_machine::{
    Acquire, CancelAcquire, CloseLease, Command, FencingToken, ForceRelease, HeldLock, LeaseId, LeaseRequest,
    LockRequest, LogTime, OpenSession, Operation, REMEMBER_MS, Release, Renew, RenewLease, RequestId, Wait,
};

use super::picture::Picture;
use super::planted::Planted;
use super::tables::{NAMESPACE, log_time};
use super::world::{AskLease, LOCKS, Lock, World};

/// Client and counter of a request id.
pub(super) type RequestKey = (u8, u8);

/// One command, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Message {
    /// The step in which it was sent, where that matters: it bounds the time at which it may still be applied.
    pub(super) taken: u8,
    /// What it says.
    pub(super) kind: Kind,
}

/// See [`Message::kind`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Open { client: u8 },
    Close { client: u8, lease: u128 },
    Acquire { client: u8, task: u8, step: u8, counter: u8, attempt: u8, lowest: u8, converts: Option<u64> },
    Cancel { client: u8, task: u8, counter: u8, attempt: u8, by_node: bool },
    Release { client: u8, locks: Vec<(Lock, u64)> },
    Renew { client: u8, lease: u128, sent: u8 },
    Force { client: u8, lock: Lock, token: u64 },
}

/// The id of a client's session.
pub(super) fn session_id(client: u8) -> LeaseId {
    LeaseId((u128::from(client) + 1) << 64)
}

/// The request id of a key.
pub(super) fn request_id((client, counter): RequestKey) -> RequestId {
    RequestId { client: u64::from(client) + 1, counter: u64::from(counter) }
}

/// The key of a request id.
pub(super) fn request_key(id: RequestId) -> RequestKey {
    ((id.client - 1) as u8, id.counter as u8)
}

impl Message {
    /// The command that a node makes of it. `picture` tells who holds a lock at its arrival: a mistake that can be planted
    /// looks at that.
    pub(super) fn command(&self, world: &World, picture: &Picture) -> Command {
        let operation = match &self.kind {
            Kind::Open { client } => open(world, *client),
            Kind::Close { lease, .. } => Operation::CloseLease(CloseLease { lease: LeaseId(*lease) }),
            Kind::Acquire { .. } => self.acquire(world),
            Kind::Cancel { client, counter, attempt, by_node, .. } => {
                let every = *by_node && world.planted == Some(Planted::CancelsEveryAttempt);
                let attempt = if every { u32::MAX } else { u32::from(*attempt) };
                Operation::CancelAcquire(CancelAcquire { request: request_id((*client, *counter)), attempt })
            }
            Kind::Release { locks, .. } => {
                let by_name = world.planted == Some(Planted::ReleasesByName);
                let holder = |lock: Lock| picture.locks[usize::from(lock)].holders.first().map(|holder| holder.token);
                let token = |lock: Lock, token: u64| if by_name { holder(lock).unwrap_or(token) } else { token };
                let held = |(lock, own): &(Lock, u64)| held(*lock, token(*lock, *own));
                let locks = locks.iter().map(held).collect();
                Operation::Release(Release { namespace: NAMESPACE.into(), locks, all_or_nothing: false })
            }
            Kind::Renew { lease, .. } => {
                let leases = vec![RenewLease { lease: LeaseId(*lease), ttl_ms: None, exact: None }];
                Operation::Renew(Renew { leases, all_or_nothing: false })
            }
            Kind::Force { lock, token, .. } => Operation::ForceRelease(ForceRelease {
                namespace: NAMESPACE.into(),
                name: LOCKS[usize::from(*lock)].into(),
                token: FencingToken(*token),
                reason: "the world says so".into(),
            }),
        };
        Command { principal: None, not_after: self.not_after(world), operation }
    }

    /// Calls end within the time for which requests are remembered; a cancel works at any time.
    fn not_after(&self, world: &World) -> Option<LogTime> {
        let endless = matches!(self.kind, Kind::Cancel { .. }) || world.planted == Some(Planted::CallsWithoutEnd);
        (world.forgets() && !endless).then(|| log_time(world, self.taken).plus_ms(REMEMBER_MS))
    }

    fn acquire(&self, world: &World) -> Operation {
        let Kind::Acquire { client, task, step, counter, attempt, lowest, converts } = self.kind else {
            unreachable!("only called for an acquire")
        };
        let ask = world.ask(client, task, step);
        let request = |(lock, mode): &(Lock, _)| LockRequest { name: LOCKS[usize::from(*lock)].into(), mode: *mode };
        let lease = match ask.lease {
            AskLease::Own(ttl) => LeaseRequest::Own { ttl_ms: world.ms(ttl) },
            AskLease::Session => LeaseRequest::Session { session: session_id(client) },
            AskLease::Convert => LeaseRequest::Convert { token: FencingToken(converts.unwrap_or_default()) },
        };
        let own = matches!(lease, LeaseRequest::Own { .. });
        let tasks = &world.clients[usize::from(client)].tasks;
        let actor = match world.planted {
            Some(Planted::LosesActor) if client == 1 => None,
            Some(Planted::TakesTasksForOne) => tasks[0].actor,
            _ => tasks[usize::from(task)].actor,
        };
        let lock_delay = if world.planted == Some(Planted::LosesLockDelay) { 0 } else { ask.lock_delay };
        Operation::Acquire(Acquire {
            request: request_id((client, counter)),
            attempt: u32::from(attempt),
            lowest_unanswered: u64::from(lowest),
            namespace: NAMESPACE.into(),
            locks: ask.locks.iter().map(request).collect(),
            owner: if own { format!("client-{client}") } else { String::new() },
            metadata: String::new(),
            lease,
            wait: if ask.wait == 0 { Wait::Try } else { Wait::For { wait_ms: world.ms(ask.wait) } },
            actor: actor.map(str::to_owned),
            lock_delay_ms: world.ms(lock_delay),
            value: Default::default(),
        })
    }
}

/// The command that opens a client's session.
pub(super) fn open(world: &World, client: u8) -> Operation {
    let ttl = world.clients[usize::from(client)].session.map_or(1, |session| session.ttl);
    Operation::OpenSession(OpenSession {
        session: session_id(client),
        namespace: NAMESPACE.into(),
        ttl_ms: world.ms(ttl),
        owner: format!("client-{client}"),
        metadata: String::new(),
    })
}

fn held(lock: Lock, token: u64) -> HeldLock {
    HeldLock { name: LOCKS[usize::from(lock)].into(), token: FencingToken(token) }
}
