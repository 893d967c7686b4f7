//! Scripts written by hand, through both: what the random logs once found, and the rules that people ask about first.

use bytes::Bytes;
use leasehold_reference::Model;
use leasehold_state_machine::{
    Acquire, Batch, Bounds, CancelAcquire, Cancelled, Command, Deadlock, DeadlockStep, EntryId, Event, EventKind,
    FencingToken, ForceRelease, Granted, HeldLock, LeaderStamp, LeaseId, LeaseRequest, Limits, LockRequest, LogTime,
    LossReason, Mode, OpenSession, Operation, Outcome, Refusal, Release, Renew, RenewLease, Renewed, RequestId,
    SetLimits, StateMachine, Wait,
};

use crate::run::found;

const X: Mode = Mode::Exclusive;
const S: Mode = Mode::Shared;
const WAIT: Wait = Wait::For { wait_ms: 10_000 };

/// Both, in step.
struct Pair {
    machine: StateMachine,
    model: Model,
    index: u64,
    requests: u64,
    events: Vec<Event>,
}

fn session(number: u128) -> LeaseId {
    LeaseId((1 << 64) + number)
}

impl Pair {
    fn founded() -> Self {
        let (machine, model) = (StateMachine::new(), Model::new(Bounds::default()));
        let mut pair = Self { machine, model, index: 0, requests: 0, events: Vec::new() };
        assert_eq!(pair.run(0, Operation::Found(found(2, Limits::default()))), Outcome::Founded);
        pair
    }

    fn run(&mut self, at: u64, operation: Operation) -> Outcome {
        self.index += 1;
        let leader = LeaderStamp { term: 1, node: 1 };
        let id = EntryId { leader, index: self.index };
        let commands = vec![Command { principal: None, not_after: None, operation }];
        let batch = Batch { at: LogTime(at), stamped_by: leader, commands };
        let effects = self.machine.apply(id, &batch);
        let expected = self.model.apply(id, &batch, &effects.outcomes);
        assert_eq!((&effects.outcomes, &effects.events), (&expected.outcomes, &expected.events));
        self.events = effects.events;
        effects.outcomes.into_iter().next().unwrap()
    }

    fn open(&mut self, at: u64, number: u128, ttl_ms: u64) {
        let open = OpenSession {
            session: session(number),
            namespace: "app".into(),
            ttl_ms,
            owner: format!("opener {number}"),
            metadata: String::new(),
        };
        assert!(matches!(self.run(at, Operation::OpenSession(open)), Outcome::Opened(_)));
    }

    /// An acquire of the next request id.
    fn acquire(&mut self, locks: &[(&str, Mode)], lease: LeaseRequest, actor: Option<&str>, wait: Wait) -> Acquire {
        self.requests += 1;
        let converts = matches!(lease, LeaseRequest::Convert { .. });
        Acquire {
            request: RequestId { client: 1, counter: self.requests },
            attempt: 1,
            lowest_unanswered: 0,
            namespace: "app".into(),
            locks: locks.iter().map(|(name, mode)| LockRequest { name: (*name).into(), mode: *mode }).collect(),
            owner: if converts { String::new() } else { "owner".into() },
            metadata: String::new(),
            lease,
            wait,
            actor: actor.map(Into::into),
            lock_delay_ms: 0,
            value: Bytes::new(),
        }
    }

    fn under(&mut self, at: u64, number: u128, actor: Option<&str>, name: &str, mode: Mode, wait: Wait) -> Outcome {
        let acquire = self.acquire(&[(name, mode)], LeaseRequest::Session { session: session(number) }, actor, wait);
        self.run(at, Operation::Acquire(acquire))
    }

    fn own(&mut self, at: u64, name: &str, mode: Mode, wait: Wait) -> Outcome {
        let acquire = self.acquire(&[(name, mode)], LeaseRequest::Own { ttl_ms: 60_000 }, None, wait);
        self.run(at, Operation::Acquire(acquire))
    }

    fn convert(&mut self, at: u64, token: FencingToken, name: &str, mode: Mode, wait: Wait) -> Outcome {
        let acquire = self.acquire(&[(name, mode)], LeaseRequest::Convert { token }, None, wait);
        self.run(at, Operation::Acquire(acquire))
    }

    fn release(&mut self, at: u64, name: &str, token: FencingToken) -> Outcome {
        let locks = vec![HeldLock { name: name.into(), token }];
        self.run(at, Operation::Release(Release { namespace: "app".into(), locks, all_or_nothing: false }))
    }

    fn granted_in_this_entry(&self) -> Vec<u64> {
        let counter = |event: &Event| match &event.kind {
            EventKind::Granted { request, .. } => Some(request.counter),
            _ => None,
        };
        self.events.iter().filter_map(counter).collect()
    }
}

#[track_caller]
fn token(outcome: &Outcome) -> FencingToken {
    let Outcome::Granted(Granted { grants, .. }) = outcome else { panic!("not granted: {outcome:?}") };
    grants[0].token
}

/// Readers go together, a writer is not starved by readers behind it.
#[test]
fn neighbours_that_share_go_together_and_nobody_overtakes_the_writer() {
    let mut pair = Pair::founded();
    let first = token(&pair.own(0, "a", X, Wait::Try));
    for mode in [S, S, X, S] {
        assert!(matches!(pair.own(1, "a", mode, WAIT), Outcome::Queued(_)));
    }
    pair.release(2, "a", first);
    assert_eq!(pair.granted_in_this_entry(), [2, 3], "both readers at the head, and not the one behind the writer");
}

/// Permits are summed, and what does not fit waits without being overtaken.
#[test]
fn permits_are_counted_and_keep_their_order() {
    let permits = |permits| Mode::Permits { permits, limit: 3 };
    let mut pair = Pair::founded();
    let two = token(&pair.own(0, "a", permits(2), Wait::Try));
    assert!(matches!(pair.own(0, "a", permits(2), WAIT), Outcome::Queued(_)));
    assert!(matches!(pair.own(0, "a", permits(1), Wait::Try), Outcome::Held(_)), "it would fit, but it is behind");
    let other = pair.own(0, "a", Mode::Permits { permits: 1, limit: 4 }, Wait::Try);
    assert_eq!(other, Outcome::Refused(Refusal::LimitConflict { name: "a".into(), limit: 3, asked: 4 }));
    pair.release(1, "a", two);
    assert_eq!(pair.granted_in_this_entry(), [2]);
}

/// An upgrade goes ahead of the queue; a second one is told at once; a cancel keeps what was converted.
#[test]
fn upgrade_goes_first_and_has_no_rival() {
    let mut pair = Pair::founded();
    let (one, two) = (token(&pair.own(0, "a", S, Wait::Try)), token(&pair.own(0, "a", S, Wait::Try)));
    pair.own(0, "a", X, WAIT);
    assert!(matches!(pair.convert(1, one, "a", X, WAIT), Outcome::Queued(queued) if queued.ahead == 0));
    assert!(matches!(pair.convert(1, two, "a", X, WAIT), Outcome::Deadlock(deadlock) if deadlock.cycle.len() == 2));
    pair.release(2, "a", two);
    assert_eq!(pair.granted_in_this_entry(), [4]);
    let cancel = CancelAcquire { request: RequestId { client: 1, counter: 4 }, attempt: 1 };
    let Outcome::Cancelled(Cancelled::Kept { mode: X, .. }) = pair.run(3, Operation::CancelAcquire(cancel)) else {
        panic!("a granted convert is kept")
    };
}

/// The end of a session with grants named the owner of one of them, not of who had opened it.
#[test]
fn session_is_lost_by_who_opened_it() {
    let mut pair = Pair::founded();
    pair.open(0, 1, 100);
    token(&pair.under(0, 1, None, "a", X, Wait::Try));
    pair.run(101, Operation::Tick);
    let last = pair.events.last().map(|event| event.kind.clone());
    let (lease, owner, reason) = (session(1), "opener 1".to_owned(), LossReason::Expired);
    assert_eq!(last, Some(EventKind::LeaseEnded { lease, owner: owner.as_str().into(), reason }));
}

/// A lease of an acquire's own, whose id everybody can read, served as a session.
#[test]
fn lease_of_its_own_is_no_session() {
    let mut pair = Pair::founded();
    let Outcome::Granted(granted) = pair.own(0, "a", X, Wait::Try) else { panic!("granted") };
    let acquire = pair.acquire(&[("b", X)], LeaseRequest::Session { session: granted.lease }, None, Wait::Try);
    let refused = pair.run(0, Operation::Acquire(acquire));
    assert_eq!(refused, Outcome::Refused(Refusal::NoSession { session: granted.lease, reason: None }));
}

/// An all-or-nothing renewal that named a lease twice did half of it.
#[test]
fn all_or_nothing_renewal_does_what_it_looked_at() {
    let mut pair = Pair::founded();
    pair.open(0, 1, 80_000);
    let limits = Limits { ttl_ms_max: 2_000, ..Limits::default() };
    pair.run(0, Operation::SetLimits(SetLimits { namespace: None, limits }));
    let one = |ttl_ms| RenewLease { lease: session(1), ttl_ms: Some(ttl_ms), exact: None };
    let renew = Renew { leases: vec![one(100), one(80_000)], all_or_nothing: true };
    let alive = Renewed::Alive { left_ms: 80_000, forced: 0 };
    assert_eq!(pair.run(0, Operation::Renew(renew)), Outcome::Renewed(vec![alive, alive]));
}

/// A refused try in the last millisecond of a lock-delay said that nothing was in its way.
#[test]
fn lock_delay_is_told_to_its_last_millisecond() {
    let mut pair = Pair::founded();
    let mut acquire = pair.acquire(&[("a", X)], LeaseRequest::Own { ttl_ms: 60_000 }, None, Wait::Try);
    acquire.lock_delay_ms = 500;
    let held = token(&pair.run(0, Operation::Acquire(acquire)));
    let force = ForceRelease { namespace: "app".into(), name: "a".into(), token: held, reason: "why".into() };
    pair.run(10, Operation::ForceRelease(force));
    let Outcome::Held(held) = pair.own(510, "a", X, Wait::Try) else { panic!("the delay runs until 510") };
    assert_eq!((held.holders.len(), held.delay_left_ms), (0, 1));
    token(&pair.own(511, "a", X, Wait::Try));
}

/// A deadlock that an upgrade closes by going ahead of somebody who waits was not found.
#[test]
fn upgrade_that_passes_somebody_by_may_close_a_cycle() {
    let mut pair = Pair::founded();
    (1..=2).for_each(|number| pair.open(0, number, 60_000));
    let first = token(&pair.under(0, 1, Some("x"), "a", S, Wait::Try));
    token(&pair.under(0, 2, Some("y"), "a", S, Wait::Try));
    pair.own(0, "a", X, WAIT);
    assert!(matches!(pair.under(0, 2, Some("y"), "a", S, WAIT), Outcome::Queued(_)));
    let step = |number, actor: &str| DeadlockStep {
        lease: session(number),
        actor: actor.into(),
        owner: "owner".into(),
        name: "a".into(),
    };
    let cycle = vec![step(1, "x"), step(2, "y")];
    assert_eq!(pair.convert(1, first, "a", X, WAIT), Outcome::Deadlock(Deadlock { cycle }));
}

/// Four who wait for each other in a circle; without their actors nobody is told.
#[test]
fn circle_of_four_is_told_to_the_one_that_closes_it() {
    for named in [true, false] {
        let mut pair = Pair::founded();
        let names = ["a", "b", "c", "d"];
        let actor = Some("task").filter(|_| named);
        for (number, name) in names.iter().enumerate() {
            pair.open(0, number as u128, 60_000);
            token(&pair.under(0, number as u128, actor, name, X, Wait::Try));
        }
        for number in 0..3 {
            assert!(matches!(pair.under(1, number as u128, actor, names[number + 1], X, WAIT), Outcome::Queued(_)));
        }
        match pair.under(2, 3, actor, "a", X, WAIT) {
            Outcome::Deadlock(deadlock) if named => {
                let told: Vec<&str> = deadlock.cycle.iter().map(|step| step.name.as_str()).collect();
                assert_eq!(told, ["a", "b", "c", "d"]);
            }
            Outcome::Queued(_) if !named => {}
            other => panic!("named {named}: {other:?}"),
        }
    }
}

/// Found by a random log: an actor that asks for several things at once comes into a cycle unseen, by an upgrade that is
/// granted at once and that another request of the cycle waits for from then on. The next upgrade that has to wait is told.
#[test]
fn an_upgrade_is_told_of_a_cycle_that_its_actor_stands_in_already() {
    let mut pair = Pair::founded();
    pair.open(0, 1, 60_000);
    let (x, z) = (Some("x"), Some("z"));
    let shared = token(&pair.under(0, 1, x, "dd", S, Wait::Try));
    token(&pair.under(0, 1, z, "c", X, Wait::Try));
    let other = token(&pair.under(0, 1, z, "a", S, Wait::Try));
    token(&pair.own(0, "a", S, Wait::Try));
    for queued in [
        // Somebody without an actor: z does not wait for x, behind whom it stands.
        pair.own(0, "dd", X, WAIT),
        pair.under(0, 1, z, "dd", S, WAIT),
        pair.under(0, 1, x, "c", X, WAIT),
    ] {
        assert!(matches!(queued, Outcome::Queued(_)), "{queued:?}");
    }
    // x is the only holder, so it need not wait; z waits for it now, and it for z.
    token(&pair.convert(1, shared, "dd", X, WAIT));
    let Outcome::Deadlock(deadlock) = pair.convert(2, other, "a", X, WAIT) else { panic!("z is in a cycle") };
    let steps: Vec<_> = deadlock.cycle.iter().map(|step| (step.actor.as_str(), step.name.as_str())).collect();
    assert_eq!(steps, [("z", "dd"), ("x", "c")]);
}
