//! A state machine with a log of its own, and short ways to say commands.
#![allow(unreachable_pub, dead_code)]

use bytes::Bytes;
use leasehold_state_machine::{
    Acquire, Batch, Bounds, CancelAcquire, Cancelled, ClusterId, Command, Effects, EntryId, Event, EventKind,
    FencingToken, ForceRelease, Found, Granted, HeldLock, LEVEL_MAX, LeaderStamp, LeaseId, LeaseRequest, Limits,
    LockRequest, LogTime, LossReason, Mode, OpenSession, Operation, Outcome, Queued, Refusal, Release, Released, Renew,
    RenewLease, Renewed, RequestId, StateMachine, Wait,
};

pub const START: u64 = 1000;
pub const NS: &str = "app";

pub struct Log {
    pub machine: StateMachine,
    pub index: u64,
    pub leader: LeaderStamp,
    pub events: Vec<Event>,
}

impl Log {
    /// A founded cluster at log time 0 with default limits.
    pub fn founded() -> Self {
        Self::founded_with(Limits::default(), Bounds::default())
    }

    pub fn founded_with(limits: Limits, bounds: Bounds) -> Self {
        let mut log = Self::empty(bounds);
        let found = Found { cluster: ClusterId(7), counter_start: START, limits, level: LEVEL_MAX };
        assert_eq!(log.one(0, Operation::Found(found)), Outcome::Founded);
        log
    }

    pub fn empty(bounds: Bounds) -> Self {
        let machine = StateMachine::new().with_bounds(bounds);
        Self { machine, index: 0, leader: LeaderStamp { term: 1, node: 1 }, events: Vec::new() }
    }

    pub fn now(&self) -> u64 {
        self.machine.now().0
    }

    /// One entry, stamped by its leader; also rebuilds the machine from its rows and checks that nothing differs.
    pub fn entry(&mut self, at: u64, operations: Vec<Operation>) -> Vec<Outcome> {
        let leader = self.leader;
        self.entry_stamped(at, leader, operations)
    }

    pub fn entry_stamped(&mut self, at: u64, stamped_by: LeaderStamp, operations: Vec<Operation>) -> Vec<Outcome> {
        let commands = operations.into_iter().map(|operation| command(operation, None)).collect();
        self.batch(at, stamped_by, commands)
    }

    pub fn batch(&mut self, at: u64, stamped_by: LeaderStamp, commands: Vec<Command>) -> Vec<Outcome> {
        self.index += 1;
        let entry = EntryId { leader: self.leader, index: self.index };
        let Effects { outcomes, events } = self.machine.apply(entry, &Batch { at: LogTime(at), stamped_by, commands });
        self.events = events;
        outcomes
    }

    /// One command in an entry of its own.
    pub fn one(&mut self, at: u64, operation: Operation) -> Outcome {
        self.entry(at, vec![operation]).remove(0)
    }

    pub fn tick(&mut self, at: u64) {
        self.entry(at, vec![]);
    }

    pub fn granted(&mut self, at: u64, operation: Operation) -> Granted {
        match self.one(at, operation) {
            Outcome::Granted(granted) => granted,
            other => panic!("not granted: {other:?}"),
        }
    }

    pub fn queued(&mut self, at: u64, operation: Operation) -> Queued {
        match self.one(at, operation) {
            Outcome::Queued(queued) => queued,
            other => panic!("not queued: {other:?}"),
        }
    }

    pub fn refused(&mut self, at: u64, operation: Operation) -> Refusal {
        match self.one(at, operation) {
            Outcome::Refused(refusal) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub fn cancelled(&mut self, at: u64, request: RequestId, attempt: u32) -> Cancelled {
        match self.one(at, cancel(request, attempt)) {
            Outcome::Cancelled(cancelled) => cancelled,
            other => panic!("not a cancel's outcome: {other:?}"),
        }
    }

    pub fn released(&mut self, at: u64, name: &str, token: FencingToken) -> Released {
        match self.one(at, release(name, token)) {
            Outcome::Released(mut released) => released.remove(0),
            other => panic!("not a release's outcome: {other:?}"),
        }
    }

    pub fn renewed(&mut self, at: u64, lease: LeaseId, ttl_ms: Option<u64>) -> Renewed {
        match self.one(at, renew(lease, ttl_ms)) {
            Outcome::Renewed(mut renewed) => renewed.remove(0),
            other => panic!("not a renewal's outcome: {other:?}"),
        }
    }

    /// Token of the (only) holder.
    pub fn holder(&self, name: &str) -> Option<FencingToken> {
        self.machine.lock(NS, name).and_then(|lock| lock.holders.first().map(|holder| holder.token))
    }

    pub fn waiters(&self, name: &str) -> Vec<RequestId> {
        self.machine.lock(NS, name).map_or_else(Vec::new, |l| l.waiters.iter().map(|w| w.request).collect())
    }

    /// Grants of the last entry, in order.
    pub fn grants(&self) -> Vec<(RequestId, Granted)> {
        let granted = |event: &Event| match &event.kind {
            EventKind::Granted { request, granted, .. } => Some((*request, granted.clone())),
            _ => None,
        };
        self.events.iter().filter_map(granted).collect()
    }

    /// Writes all rows, reads them back, and goes on with the copy.
    pub fn restore(&mut self, bounds: Bounds) {
        let hash = self.machine.state_hash();
        let rows = self.machine.rows();
        let mut copy = StateMachine::from_rows(rows.clone()).expect("rows make a machine").with_bounds(bounds);
        assert_eq!(copy.state_hash(), hash);
        assert_eq!(copy.rows(), rows);
        self.machine = copy;
    }
}

pub fn command(operation: Operation, not_after: Option<u64>) -> Command {
    Command { principal: None, not_after: not_after.map(LogTime), operation }
}

pub fn id(client: u64, counter: u64) -> RequestId {
    RequestId { client, counter }
}

pub fn acquire_of(request: RequestId, names: &[&str], ttl_ms: u64, wait: Wait) -> Acquire {
    Acquire {
        request,
        attempt: 1,
        lowest_unanswered: 0,
        namespace: NS.into(),
        locks: names.iter().map(|name| LockRequest { name: (*name).into(), mode: Mode::Exclusive }).collect(),
        owner: format!("owner-{}", request.client),
        metadata: String::new(),
        lease: LeaseRequest::Own { ttl_ms },
        wait,
        actor: None,
        lock_delay_ms: 0,
        value: Bytes::new(),
    }
}

pub fn try_lock(request: RequestId, name: &str, ttl_ms: u64) -> Operation {
    Operation::Acquire(acquire_of(request, &[name], ttl_ms, Wait::Try))
}

pub fn wait_lock(request: RequestId, name: &str, ttl_ms: u64, wait_ms: u64) -> Operation {
    Operation::Acquire(acquire_of(request, &[name], ttl_ms, Wait::For { wait_ms }))
}

pub fn with(operation: Operation, change: impl FnOnce(&mut Acquire)) -> Operation {
    match operation {
        Operation::Acquire(mut acquire) => {
            change(&mut acquire);
            Operation::Acquire(acquire)
        }
        other => other,
    }
}

pub fn attempt(operation: Operation, attempt: u32) -> Operation {
    with(operation, |acquire| acquire.attempt = attempt)
}

pub fn cancel(request: RequestId, attempt: u32) -> Operation {
    Operation::CancelAcquire(CancelAcquire { request, attempt })
}

pub fn release(name: &str, token: FencingToken) -> Operation {
    let locks = vec![HeldLock { name: name.into(), token }];
    Operation::Release(Release { namespace: NS.into(), locks, all_or_nothing: false })
}

/// The outcome of a release that did it.
pub fn released() -> Released {
    Released { released: true, reason: None, still_held: false }
}

/// The outcome of a release of what had been lost before.
pub fn not_released(reason: Option<LossReason>) -> Released {
    Released { released: false, reason, still_held: false }
}

/// The outcome of a renewal.
pub fn alive(left_ms: u64) -> Renewed {
    Renewed::Alive { left_ms, forced: 0 }
}

pub fn renew(lease: LeaseId, ttl_ms: Option<u64>) -> Operation {
    Operation::Renew(Renew { leases: vec![RenewLease { lease, ttl_ms, exact: None }], all_or_nothing: false })
}

pub fn open_session(session: LeaseId, ttl_ms: u64) -> Operation {
    let (owner, metadata) = ("opener".into(), String::new());
    Operation::OpenSession(OpenSession { session, namespace: NS.into(), ttl_ms, owner, metadata })
}

pub fn force_release(name: &str, token: FencingToken) -> Operation {
    let reason = "maintenance".into();
    Operation::ForceRelease(ForceRelease { namespace: NS.into(), name: name.into(), token, reason })
}
