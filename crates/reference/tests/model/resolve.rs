//! From a step to the command that it stands for at this point of the log.

use bytes::Bytes;
use leasehold_reference::Model;
use leasehold_state_machine::{
    Acquire, CancelAcquire, CloseLease, FencingToken, ForceRelease, HeldLock, LeaseId, LeaseRequest, LockRequest, Mode,
    OpenSession, Operation, Release, Renew, RenewLease, RequestId, SetLevel, SetLimits, SetValue, Wait,
};
use proptest::sample::Index;

use crate::steps::{self, ACTORS, CLIENTS, Exact, Lease, NAMES, NAMESPACES, SESSIONS, Step, Token};

/// Clients' counters and what they sent.
#[derive(Default)]
pub struct Sent {
    counters: [u64; CLIENTS as usize],
    pub acquires: Vec<Acquire>,
}

/// A session's id.
pub fn session(number: u64) -> LeaseId {
    LeaseId((1 << 64) + u128::from(number))
}

pub fn mode(mode: steps::Mode) -> Mode {
    match mode {
        steps::Mode::Exclusive => Mode::Exclusive,
        steps::Mode::Shared => Mode::Shared,
        steps::Mode::Permits(permits, limit) => Mode::Permits { permits, limit },
    }
}

fn value(value: u8) -> Bytes {
    Bytes::from(vec![value; value.into()])
}

/// One of several flaws, if any.
fn spoil<T>(of: &mut T, flaw: Option<&Index>, flaws: &[fn(&mut T)]) {
    if let Some(flaw) = flaw {
        flaw.get(flaws)(of);
    }
}

fn wait(wait_ms: Option<u64>) -> Wait {
    wait_ms.map_or(Wait::Try, |wait_ms| Wait::For { wait_ms })
}

fn lowest(counter: u64, distance: u64) -> u64 {
    if distance == 0 { 0 } else { counter.saturating_sub(distance - 1) }
}

const ACQUIRE_FLAWS: &[fn(&mut Acquire)] = &[
    |a| a.request.counter = 0,
    |a| a.attempt = 0,
    |a| a.lowest_unanswered = a.request.counter + 1,
    |a| a.namespace.clear(),
    |a| a.namespace = "n".repeat(200),
    |a| a.locks.clear(),
    |a| a.locks = NAMES.map(|name| LockRequest { name: name.into(), mode: Mode::Shared }).to_vec(),
    |a| a.locks[0].name.clear(),
    |a| a.locks[0].name = "long".into(),
    |a| a.locks[0].name = "\n".into(),
    |a| a.locks.push(a.locks[0].clone()),
    |a| a.locks[0].mode = Mode::Permits { permits: 0, limit: 3 },
    |a| a.locks[0].mode = Mode::Permits { permits: 4, limit: 3 },
    |a| a.owner = "somebody else".into(),
    |a| a.owner = "\t".into(),
    |a| a.metadata = "metadata".into(),
    |a| a.lease = LeaseRequest::Own { ttl_ms: 5 },
    |a| a.lease = LeaseRequest::Own { ttl_ms: u64::MAX },
    |a| a.lease = LeaseRequest::Session { session: LeaseId(7) },
    // Of the first acquires: no session, but alive for a while.
    |a| a.lease = LeaseRequest::Session { session: LeaseId(100) },
    |a| a.lease = LeaseRequest::Session { session: LeaseId(103) },
    |a| a.actor = Some(String::new()),
    |a| a.actor = Some("long".into()),
    |a| a.lock_delay_ms = 501,
    |a| a.value = Bytes::from_static(b"long"),
    |a| a.wait = Wait::For { wait_ms: 0 },
    |a| a.wait = Wait::For { wait_ms: 2_001 },
];

/// What a convert must not say, although an acquire may.
const CONVERT_FLAWS: &[fn(&mut Acquire)] = &[
    |a| a.locks.clear(),
    |a| a.locks.push(LockRequest { name: "c".into(), mode: Mode::Shared }),
    |a| a.locks[0].mode = Mode::Permits { permits: 1, limit: 3 },
    |a| a.owner = "owner".into(),
    |a| a.metadata = "m".into(),
    |a| a.lock_delay_ms = 1,
    |a| a.value = Bytes::from_static(b"v"),
    |a| a.actor = Some("long".into()),
    |a| a.wait = Wait::For { wait_ms: 2_001 },
];

const RELEASE_FLAWS: &[fn(&mut Release)] = &[
    |r| r.namespace.clear(),
    |r| r.locks.clear(),
    |r| r.locks.push(HeldLock { name: String::new(), token: FencingToken(1) }),
    |r| r.locks.extend(r.locks.first().cloned()),
    |r| r.locks = (1..=1_025).map(|token| HeldLock { name: "a".into(), token: FencingToken(token) }).collect(),
];

const OPEN_FLAWS: &[fn(&mut OpenSession)] = &[
    |o| o.session = LeaseId(7),
    |o| o.namespace.clear(),
    |o| o.ttl_ms = 5,
    |o| o.ttl_ms = u64::MAX,
    |o| o.owner.clear(),
    |o| o.owner = "somebody else".into(),
    |o| o.metadata = "metadata".into(),
];

const VALUE_FLAWS: &[fn(&mut SetValue)] =
    &[|s| s.namespace.clear(), |s| s.name.clear(), |s| s.value = Bytes::from_static(b"long")];

const FORCE_FLAWS: &[fn(&mut ForceRelease)] =
    &[|f| f.namespace.clear(), |f| f.name.clear(), |f| f.reason.clear(), |f| f.reason = "for a long reason".into()];

const LIMITS_FLAWS: &[fn(&mut SetLimits)] = &[
    |s| s.namespace = Some(String::new()),
    |s| s.limits.ttl_ms_min = 0,
    |s| s.limits.ttl_ms_max = s.limits.ttl_ms_min - 1,
];

impl Sent {
    fn earlier(&self, back: usize) -> Option<Acquire> {
        self.acquires.len().checked_sub(1 + back).map(|at| self.acquires[at].clone())
    }

    fn next(&mut self, client: u64) -> RequestId {
        let counter = &mut self.counters[client as usize];
        *counter += 1;
        RequestId { client, counter: *counter }
    }

    pub fn operation(&mut self, step: &Step, model: &Model) -> Operation {
        match step {
            Step::Acquire(acquire) => Operation::Acquire(self.acquire(acquire, model)),
            Step::Convert { client, token, wrong_mode, wait_ms, lowest: distance, actor, flaw } => {
                let held = lock_of(token, model);
                let request = self.next(*client);
                let other = match model.grant(held.1).map(|grant| grant.mode) {
                    Some(Mode::Shared) => Mode::Exclusive,
                    _ => Mode::Shared,
                };
                let mut acquire = Acquire {
                    request,
                    attempt: 1,
                    lowest_unanswered: lowest(request.counter, *distance),
                    namespace: held.0.0,
                    locks: vec![LockRequest { name: held.0.1, mode: wrong_mode.map_or(other, mode) }],
                    owner: String::new(),
                    metadata: String::new(),
                    lease: LeaseRequest::Convert { token: held.1 },
                    wait: wait(*wait_ms),
                    // Mostly none, sometimes the grant's, or another one.
                    actor: match actor {
                        None => None,
                        Some(0) => Some(ACTORS[0].into()),
                        Some(_) => model.grant(held.1).map(|grant| grant.actor).filter(|actor| !actor.is_empty()),
                    },
                    lock_delay_ms: 0,
                    value: Bytes::new(),
                };
                spoil(&mut acquire, flaw.as_ref(), CONVERT_FLAWS);
                self.acquires.push(acquire.clone());
                Operation::Acquire(acquire)
            }
            Step::Again { back } => self.earlier(*back).map_or(Operation::Tick, Operation::Acquire),
            Step::Later { back, more, wait_ms, lowest: distance, change_body } => {
                let Some(mut acquire) = self.earlier(*back) else { return Operation::Tick };
                acquire.attempt = acquire.attempt.saturating_add_signed(*more).max(1);
                acquire.lowest_unanswered = lowest(acquire.request.counter, *distance);
                if let Some(wait_ms) = wait_ms {
                    acquire.wait = wait(*wait_ms);
                }
                if *change_body {
                    acquire.metadata.push('x');
                } else {
                    self.acquires.push(acquire.clone());
                }
                Operation::Acquire(acquire)
            }
            Step::Cancel { back, attempt } => {
                let Some(acquire) = self.earlier(*back) else { return Operation::Tick };
                Operation::CancelAcquire(CancelAcquire { request: acquire.request, attempt: *attempt })
            }
            Step::CancelUnknown { client, ahead, attempt } => {
                let counter = self.counters[*client as usize] + ahead;
                let request = RequestId { client: *client, counter };
                Operation::CancelAcquire(CancelAcquire { request, attempt: *attempt })
            }
            other => by_token(other, model),
        }
    }

    fn acquire(&mut self, step: &steps::Acquire, model: &Model) -> Acquire {
        let request = self.next(step.client);
        let mut locks: Vec<LockRequest> = Vec::new();
        for (name, wanted) in &step.locks {
            if locks.iter().all(|lock| lock.name != NAMES[*name]) {
                locks.push(LockRequest { name: NAMES[*name].into(), mode: mode(*wanted) });
            }
        }
        let mut namespace = NAMESPACES[step.namespace].to_owned();
        let (lease, actor, owner) = match &step.lease {
            steps::LeaseRequest::Own { ttl_ms } => (LeaseRequest::Own { ttl_ms: *ttl_ms }, None, true),
            steps::LeaseRequest::Session { open, session: number, owner } => {
                let sessions: Vec<LeaseId> = model.leases().filter(|lease| lease.is_session()).collect();
                // Numbers beyond the sessions there may be stand for any open one.
                if *number < SESSIONS {
                    (LeaseRequest::Session { session: session(*number) }, step.actor, *owner)
                } else if sessions.is_empty() {
                    (LeaseRequest::Own { ttl_ms: 1_000 }, None, true)
                } else {
                    let any = *open.get(&sessions);
                    namespace = model.opened_as(any).map_or(namespace, |known| known.namespace.clone());
                    (LeaseRequest::Session { session: any }, step.actor, *owner)
                }
            }
        };
        let mut acquire = Acquire {
            request,
            attempt: 1,
            lowest_unanswered: lowest(request.counter, step.lowest),
            namespace,
            locks,
            owner: if owner { format!("owner {}", step.client) } else { String::new() },
            metadata: "m".repeat(step.client as usize),
            lease,
            wait: wait(step.wait_ms),
            actor: actor.map(|actor| ACTORS[actor].into()),
            lock_delay_ms: step.delay_ms,
            value: value(step.value),
        };
        spoil(&mut acquire, step.flaw.as_ref(), ACQUIRE_FLAWS);
        self.acquires.push(acquire.clone());
        acquire
    }
}

/// Commands that name tokens and leases, and the cluster's own.
fn by_token(step: &Step, model: &Model) -> Operation {
    match step {
        Step::Release { tokens, all_or_nothing, flaw } => {
            let mut named: Vec<((String, String), FencingToken)> = Vec::new();
            for one in tokens.iter().map(|token| lock_of(token, model)) {
                if named.iter().all(|other| other.1 != one.1 && other.0.0 == one.0.0) {
                    named.push(one);
                }
            }
            let namespace = named.first().map_or(NAMESPACES[0].into(), |one| one.0.0.clone());
            let locks = named.into_iter().map(|((_, name), token)| HeldLock { name, token }).collect();
            let mut release = Release { namespace, locks, all_or_nothing: *all_or_nothing };
            spoil(&mut release, flaw.as_ref(), RELEASE_FLAWS);
            Operation::Release(release)
        }
        Step::Renew { leases, all_or_nothing } => {
            let leases = leases.iter().map(|one| renewal(one, model)).collect();
            Operation::Renew(Renew { leases, all_or_nothing: *all_or_nothing })
        }
        Step::Close { lease } => Operation::CloseLease(CloseLease { lease: lease_of(lease, model) }),
        Step::Open { session: number, namespace, ttl_ms, owner, flaw } => {
            let mut open = OpenSession {
                session: session(*number),
                namespace: NAMESPACES[*namespace].into(),
                ttl_ms: *ttl_ms,
                owner: format!("opener {owner}"),
                metadata: String::new(),
            };
            // Most duplicates are true ones.
            if let Some(known) = model.opened_as(open.session).filter(|_| *owner == 0) {
                open = known.clone();
            }
            spoil(&mut open, flaw.as_ref(), OPEN_FLAWS);
            Operation::OpenSession(open)
        }
        Step::SetValue { token, version, value: number, flaw } => {
            let ((namespace, name), token) = lock_of(token, model);
            let known = model.grant(token).map_or(0, |grant| grant.version).saturating_add_signed(*version);
            let mut set = SetValue { namespace, name, token, version: known, value: value(*number) };
            spoil(&mut set, flaw.as_ref(), VALUE_FLAWS);
            Operation::SetValue(set)
        }
        Step::Force { token, flaw } => {
            let ((namespace, name), token) = lock_of(token, model);
            let mut force = ForceRelease { namespace, name, token, reason: "why".into() };
            spoil(&mut force, flaw.as_ref(), FORCE_FLAWS);
            Operation::ForceRelease(force)
        }
        Step::Limits { namespace, limits, flaw } => {
            let namespace = namespace.map(|namespace| NAMESPACES[namespace].to_owned());
            let mut set = SetLimits { namespace, limits: limits.clone() };
            spoil(&mut set, flaw.as_ref(), LIMITS_FLAWS);
            Operation::SetLimits(set)
        }
        Step::Level { level } => Operation::SetLevel(SetLevel { level: *level }),
        Step::Found => Operation::Found(crate::run::found(2, crate::draw::founding_limits())),
        _ => Operation::Tick,
    }
}

/// The lock and the token that are meant.
fn lock_of(token: &Token, model: &Model) -> ((String, String), FencingToken) {
    let held: Vec<_> =
        model.held().map(|(token, namespace, name)| (token, namespace.to_owned(), name.to_owned())).collect();
    let (index, of_another) = match token {
        Token::Held(index) => (index, false),
        Token::OfAnother(index) => (index, true),
        Token::Back(back) => {
            let token = FencingToken(model.next_token().0.saturating_sub(*back));
            let lock = model.lost_lock(token).unwrap_or((NAMESPACES[0].into(), NAMES[0].into()));
            return (lock, token);
        }
    };
    if held.is_empty() {
        return lock_of(&Token::Back(1), model);
    }
    let (token, namespace, name) = index.get(&held).clone();
    let other = if name == "a" { "b" } else { "a" };
    ((namespace, if of_another { other.into() } else { name }), token)
}

fn lease_of(lease: &Lease, model: &Model) -> LeaseId {
    let live: Vec<LeaseId> = model.leases().collect();
    match lease {
        Lease::Live(index) if !live.is_empty() => *index.get(&live),
        Lease::Live(_) => model.next_lease(),
        Lease::Back(back) => LeaseId(model.next_lease().0.saturating_sub(u128::from(*back))),
        Lease::Session(number) => session(*number),
    }
}

fn renewal(one: &steps::RenewLease, model: &Model) -> RenewLease {
    let lease = lease_of(&one.lease, model);
    let exact = match &one.exact {
        Exact::No => None,
        Exact::Own(index) => {
            let tokens: Vec<FencingToken> = model.tokens_under(lease).collect();
            if tokens.is_empty() { None } else { Some(*index.get(&tokens)) }
        }
        Exact::Other(token) => Some(lock_of(token, model).1),
    };
    RenewLease { lease, ttl_ms: one.ttl_ms, exact }
}
