//! Batches of commands from choices: few names, clients and tokens, so that they meet; now and then numbers from the ends of
//! their range.

use std::collections::VecDeque;

use leasehold_state_machine::{
    Acquire, Batch, CancelAcquire, CloseLease, ClusterId, Command, FencingToken, ForceRelease, Found, Granted,
    HeldLock, LEVEL_MAX, LeaderStamp, LeaseId, LeaseRequest, Limits, LockRequest, LogTime, Mode, OpenSession,
    Operation, Release, Renew, RenewLease, RequestId, SetLevel, SetLimits, SetValue, Wait,
};

use crate::draw::Draw;

pub const NAMESPACES: [&str; 2] = ["n", "m"];
const NAMES: [&str; 5] = ["a", "b", "c", "d", "é"];
const TEXTS: [&str; 5] = ["o", "", "owner", "\n", "a much longer text than tight limits allow"];
const COUNTER_START: u64 = 1_700_000_000 << 20;
const SESSIONS: u8 = 3;
const COMMANDS_MAX: u8 = 6;
/// Grants that later commands may name.
const REMEMBERED_MAX: usize = 16;

/// What was said and granted before, for commands that name it.
#[derive(Debug, Default)]
pub struct Said {
    acquires: VecDeque<Acquire>,
    grants: VecDeque<(String, String, FencingToken, Mode)>,
    leases: VecDeque<LeaseId>,
    counters: [u64; 3],
}

fn remember<T>(list: &mut VecDeque<T>, item: T) {
    list.push_front(item);
    list.truncate(REMEMBERED_MAX);
}

impl Said {
    pub fn granted(&mut self, namespace: &str, granted: &Granted) {
        remember(&mut self.leases, granted.lease);
        for grant in &granted.grants {
            remember(&mut self.grants, (namespace.to_owned(), grant.name.clone(), grant.token, grant.mode));
        }
    }
}

pub fn found(draw: &mut Draw<'_>) -> Batch {
    let limits = limits(draw);
    let level = if draw.one_in(16) { 1 } else { LEVEL_MAX };
    let counter_start = if draw.one_in(8) { draw.number(0..=4) >> 1 } else { COUNTER_START };
    let found = Found { cluster: ClusterId(7), counter_start, limits, level };
    batch(LogTime(0), vec![command(None, Operation::Found(found))])
}

fn batch(at: LogTime, commands: Vec<Command>) -> Batch {
    Batch { at, stamped_by: LeaderStamp { term: 1, node: 1 }, commands }
}

fn command(not_after: Option<LogTime>, operation: Operation) -> Command {
    Command { principal: None, not_after, operation }
}

/// The next entry's batch, stamped by the leader of `term` or, seldom, by another.
pub fn next(draw: &mut Draw<'_>, said: &mut Said, now: LogTime, term: u64) -> Batch {
    let passed = match draw.below(8) {
        0..=4 => u64::from(draw.byte()),
        5 => 1_000,
        6 => draw.number(0..=60_000),
        _ => return Batch { stamped_by: LeaderStamp { term, node: 2 }, ..batch(now, Vec::new()) },
    };
    let at = if draw.one_in(16) { LogTime(now.0.saturating_sub(passed)) } else { now.plus_ms(passed) };
    let commands = (0..draw.below(COMMANDS_MAX) + 1).map(|_| one(draw, said, now)).collect();
    Batch { stamped_by: LeaderStamp { term, node: 1 }, ..batch(at, commands) }
}

fn one(draw: &mut Draw<'_>, said: &mut Said, now: LogTime) -> Command {
    let operation = match draw.below(32) {
        0..=8 => acquire(draw, said),
        9..=11 => convert(draw, said),
        12..=14 => again(draw, said),
        15..=16 => Operation::CancelAcquire(cancel(draw, said)),
        17..=20 => release(draw, said),
        21..=22 => renew(draw, said),
        23 => Operation::CloseLease(CloseLease { lease: lease(draw, said) }),
        24..=25 => open(draw),
        26 => set_value(draw, said),
        27 => force(draw, said),
        28 => {
            let namespace = draw.one_in(2).then(|| namespace(draw));
            Operation::SetLimits(SetLimits { namespace, limits: limits(draw) })
        }
        29 => Operation::SetLevel(SetLevel { level: u32::from(draw.below(4)) }),
        30 => return found(draw).commands.remove(0),
        _ => Operation::Tick,
    };
    let not_after = draw.one_in(8).then(|| LogTime(draw.number(now.0..=now.0.saturating_add(1_000))));
    command(not_after, operation)
}

fn namespace(draw: &mut Draw<'_>) -> String {
    if draw.one_in(32) { text(draw) } else { NAMESPACES[usize::from(draw.one_in(8))].to_owned() }
}

fn name(draw: &mut Draw<'_>) -> String {
    if draw.one_in(32) { text(draw) } else { draw.pick(&NAMES).to_owned() }
}

fn text(draw: &mut Draw<'_>) -> String {
    if draw.one_in(16) {
        let length = usize::from(draw.byte());
        return String::from_utf8_lossy(draw.take(length)).into_owned();
    }
    draw.pick(&TEXTS).to_owned()
}

fn mode(draw: &mut Draw<'_>) -> Mode {
    match draw.below(8) {
        0..=2 => Mode::Exclusive,
        3..=5 => Mode::Shared,
        _ => Mode::Permits { permits: draw.small_number(1..=3), limit: draw.small_number(3..=3) },
    }
}

fn session(draw: &mut Draw<'_>) -> LeaseId {
    if draw.one_in(32) {
        LeaseId(u128::from(draw.number(0..=3)))
    } else {
        LeaseId((1 << 64) + u128::from(draw.below(SESSIONS)))
    }
}

fn request(draw: &mut Draw<'_>, said: &mut Said) -> RequestId {
    let client = draw.below(3);
    let counter = &mut said.counters[usize::from(client)];
    *counter += 1;
    let counter = if draw.one_in(32) { draw.number(0..=4) } else { *counter };
    RequestId { client: u64::from(client), counter }
}

fn wait(draw: &mut Draw<'_>) -> Wait {
    if draw.one_in(4) { Wait::Try } else { Wait::For { wait_ms: draw.number(1..=2_000) } }
}

fn acquire(draw: &mut Draw<'_>, said: &mut Said) -> Operation {
    let request = request(draw, said);
    let lease = if draw.one_in(2) {
        LeaseRequest::Session { session: session(draw) }
    } else {
        LeaseRequest::Own { ttl_ms: draw.number(100..=3_000) }
    };
    let count = if draw.one_in(4) { draw.below(4) } else { 1 };
    let under_session = matches!(lease, LeaseRequest::Session { .. });
    let acquire = Acquire {
        request,
        attempt: if draw.one_in(16) { draw.small_number(0..=3) } else { 1 },
        lowest_unanswered: if draw.one_in(4) { draw.number(0..=3) } else { 0 },
        namespace: namespace(draw),
        locks: (0..count).map(|_| LockRequest { name: name(draw), mode: mode(draw) }).collect(),
        owner: if draw.one_in(16) { text(draw) } else { "o".to_owned() },
        metadata: if draw.one_in(16) { text(draw) } else { String::new() },
        lease,
        wait: wait(draw),
        actor: (under_session && draw.one_in(2)).then(|| draw.pick(&["x", "y", "z", ""]).to_owned()),
        lock_delay_ms: if draw.one_in(6) { draw.number(1..=400) } else { 0 },
        value: if draw.one_in(8) { draw.take(5).to_vec().into() } else { Vec::new().into() },
    };
    remember(&mut said.acquires, acquire.clone());
    Operation::Acquire(acquire)
}

fn convert(draw: &mut Draw<'_>, said: &mut Said) -> Operation {
    let request = request(draw, said);
    let (namespace, name, token, held) = grant(draw, said);
    let to = match held {
        _ if draw.one_in(16) => mode(draw),
        Mode::Shared => Mode::Exclusive,
        Mode::Exclusive | Mode::Permits { .. } => Mode::Shared,
    };
    let acquire = Acquire {
        request,
        attempt: 1,
        lowest_unanswered: 0,
        namespace,
        locks: vec![LockRequest { name, mode: to }],
        owner: if draw.one_in(32) { text(draw) } else { String::new() },
        metadata: String::new(),
        lease: LeaseRequest::Convert { token },
        wait: wait(draw),
        actor: draw.one_in(4).then(|| draw.pick(&["x", "y", "z"]).to_owned()),
        lock_delay_ms: 0,
        value: Vec::new().into(),
    };
    remember(&mut said.acquires, acquire.clone());
    Operation::Acquire(acquire)
}

fn again(draw: &mut Draw<'_>, said: &mut Said) -> Operation {
    let Some(mut acquire) = said.acquires.get(usize::from(draw.below(REMEMBERED_MAX as u8))).cloned() else {
        return Operation::Tick;
    };
    match draw.below(4) {
        0 => {}
        1 => acquire.attempt = acquire.attempt.saturating_add(1),
        2 => acquire.wait = wait(draw),
        _ => acquire.attempt = draw.small_number(0..=3),
    }
    if draw.one_in(16) {
        acquire.metadata = text(draw);
    }
    remember(&mut said.acquires, acquire.clone());
    Operation::Acquire(acquire)
}

fn cancel(draw: &mut Draw<'_>, said: &mut Said) -> CancelAcquire {
    let known = said.acquires.get(usize::from(draw.below(REMEMBERED_MAX as u8)));
    match known {
        Some(acquire) if !draw.one_in(16) => {
            let attempt = if draw.one_in(4) { draw.small_number(0..=3) } else { acquire.attempt };
            CancelAcquire { request: acquire.request, attempt }
        }
        _ => CancelAcquire { request: request(draw, said), attempt: draw.small_number(0..=2) },
    }
}

fn grant(draw: &mut Draw<'_>, said: &Said) -> (String, String, FencingToken, Mode) {
    match said.grants.get(usize::from(draw.below(REMEMBERED_MAX as u8))) {
        Some(grant) if !draw.one_in(32) => grant.clone(),
        _ => {
            let token = FencingToken(COUNTER_START.saturating_add(draw.number(0..=8)));
            (namespace(draw), name(draw), token, Mode::Shared)
        }
    }
}

fn lease(draw: &mut Draw<'_>, said: &Said) -> LeaseId {
    match said.leases.get(usize::from(draw.below(REMEMBERED_MAX as u8))) {
        Some(lease) if draw.one_in(2) => *lease,
        _ => session(draw),
    }
}

fn release(draw: &mut Draw<'_>, said: &Said) -> Operation {
    let (namespace, name, token, _) = grant(draw, said);
    let mut locks = vec![HeldLock { name, token }];
    if draw.one_in(8) {
        locks.extend((0..draw.below(4)).map(|_| grant(draw, said)).map(|(_, name, token, _)| HeldLock { name, token }));
    }
    Operation::Release(Release { namespace, locks, all_or_nothing: draw.one_in(4) })
}

fn renew(draw: &mut Draw<'_>, said: &Said) -> Operation {
    let one = |draw: &mut Draw<'_>| {
        let exact = draw.one_in(4).then(|| grant(draw, said).2);
        let ttl_ms = (exact.is_some() || draw.one_in(2)).then(|| draw.number(1..=3_000));
        RenewLease { lease: lease(draw, said), ttl_ms: ttl_ms.filter(|_| !draw.one_in(16)), exact }
    };
    let count = if draw.one_in(4) { draw.below(4) } else { 1 };
    Operation::Renew(Renew { leases: (0..count).map(|_| one(draw)).collect(), all_or_nothing: draw.one_in(4) })
}

fn open(draw: &mut Draw<'_>) -> Operation {
    Operation::OpenSession(OpenSession {
        session: session(draw),
        namespace: namespace(draw),
        ttl_ms: draw.number(100..=3_000),
        owner: if draw.one_in(16) { text(draw) } else { "o".to_owned() },
        metadata: String::new(),
    })
}

fn set_value(draw: &mut Draw<'_>, said: &Said) -> Operation {
    let (namespace, name, token, _) = grant(draw, said);
    let version = if draw.one_in(4) { draw.number(0..=2) } else { 0 };
    Operation::SetValue(SetValue { namespace, name, token, version, value: draw.take(3).to_vec().into() })
}

fn force(draw: &mut Draw<'_>, said: &Said) -> Operation {
    let (namespace, name, token, _) = grant(draw, said);
    Operation::ForceRelease(ForceRelease { namespace, name, token, reason: text(draw) })
}

fn limits(draw: &mut Draw<'_>) -> Limits {
    match draw.below(4) {
        0 | 1 => Limits::default(),
        2 => Limits {
            leases_max: 3,
            waiters_per_lock_max: 2,
            locks_per_lease_max: 2,
            locks_per_acquire_max: 2,
            name_bytes_max: 1,
            owner_bytes_max: 5,
            ..Limits::default()
        },
        _ => Limits {
            name_bytes_max: draw.small_number(0..=2),
            owner_bytes_max: draw.small_number(0..=9),
            metadata_bytes_max: draw.small_number(0..=9),
            ttl_ms_min: draw.number(1..=100),
            ttl_ms_max: draw.number(100..=3_000),
            wait_ms_max: draw.number(1..=2_000),
            leases_max: draw.number(1..=4),
            locks_per_lease_max: draw.small_number(1..=4),
            locks_per_acquire_max: draw.small_number(1..=4),
            waiters_per_lock_max: draw.small_number(1..=4),
            actor_bytes_max: draw.small_number(0..=2),
            lock_delay_ms_max: draw.number(0..=400),
            value_bytes_max: draw.small_number(0..=4),
            reason_bytes_max: draw.small_number(0..=9),
        },
    }
}
