//! Hand-made evidence for the tests of the checks.

use leasehold_state_machine::{
    Attempt, CancelAcquire, CloseLease, Closed, ClusterId, Command, FencingToken, ForceRelease, Found, Granted,
    GrantedLock, HeldLock, LEVEL_MAX, LeaderStamp, LeaseId, LeaseRequest, Limits, LockRequest, LogTime, LossReason,
    Mode, OpenSession, Opened, Operation, Outcome, Queued, Released, Renew, RenewLease, Renewed, RequestId, Wait,
};

use super::{Evidence, Invariant, check};
use crate::clock::Moment;
use crate::dump::{Entry, Kind, NodeLog};
use crate::history::{self, Acquire, Call, Fault, Record, Response, SeenHolder};

/// Client 7, counter `counter`.
pub(super) fn request(counter: u64) -> RequestId {
    RequestId { client: 7, counter }
}

/// Builds evidence, call by call and entry by entry. All times are in ms; the token serves as the request's counter, and
/// the lease of token t has the same number.
#[derive(Default)]
pub(super) struct Fixture {
    evidence: Evidence,
    entries: Vec<Entry>,
}

/// A lease's text form.
pub(super) fn lease(token: u64) -> String {
    LeaseId(token.into()).to_string()
}

/// A session's id.
pub(super) fn session() -> LeaseId {
    LeaseId(1 << 64)
}

/// An acquire's call: one exclusive lock, a lease of 1,000 ms of its own, a try.
pub(super) fn call(counter: u64) -> Acquire {
    Acquire {
        request: Some(request(counter)),
        attempts: 1,
        ttl_ms: 1_000,
        wait_ms: None,
        mode: Mode::Exclusive,
        session: None,
        replaces: None,
        lock_delay_ms: 0,
        locks: 1,
    }
}

impl Fixture {
    pub(super) fn call(mut self, lock: &str, sent: u64, done: Option<u64>, call: Call, response: Response) -> Self {
        self.evidence.history.records.push(Record {
            worker: 1,
            lock: format!("default/{lock}").into(),
            invoke: Moment::default().plus_ms(sent),
            first_send: None,
            complete: done.map(|done| Moment::default().plus_ms(done)),
            call,
            response,
        });
        self
    }

    /// A grant at once, with a ttl of 1,000 ms.
    pub(super) fn granted(self, lock: &str, token: u64, sent: u64, done: u64) -> Self {
        self.granted_as(lock, token, sent, done, |_| {})
    }

    /// The same for another kind of acquire.
    pub(super) fn granted_as(
        self,
        lock: &str,
        token: u64,
        sent: u64,
        done: u64,
        change: impl FnOnce(&mut Acquire),
    ) -> Self {
        let mut acquire = call(token);
        change(&mut acquire);
        let lease = acquire.session.clone().unwrap_or_else(|| lease(acquire.replaces.unwrap_or(token)).into());
        let response = Response::Granted { token, lease, left_ms: 1_000, confirm: false };
        self.call(lock, sent, Some(done), Call::Acquire(acquire), response)
    }

    /// A grant after a wait.
    pub(super) fn waited(self, lock: &str, token: u64, sent: u64, done: u64) -> Self {
        let acquire = Acquire { wait_ms: Some(30_000), ..call(token) };
        let response = Response::Granted { token, lease: lease(token).into(), left_ms: 0, confirm: true };
        self.call(lock, sent, Some(done), Call::Acquire(acquire), response)
    }

    pub(super) fn renewed(self, lock: &str, token: u64, sent: u64, done: u64) -> Self {
        let renew = history::Renew { lease: lease(token).into(), token: Some(token), ttl_ms: 1_000 };
        self.call(lock, sent, Some(done), Call::Renew(renew), Response::Renewed { left_ms: 1_000 })
    }

    /// A session of 1,000 ms is opened.
    pub(super) fn opened(self, sent: u64, done: u64) -> Self {
        let open = history::OpenSession { session: session().to_string().into(), ttl_ms: 1_000 };
        self.call("", sent, Some(done), Call::OpenSession(open), Response::Opened { left_ms: 1_000 })
    }

    /// The opening is sent again, and finds so much left.
    pub(super) fn opened_again(self, sent: u64, done: u64, left_ms: u64) -> Self {
        let open = history::OpenSession { session: session().to_string().into(), ttl_ms: 1_000 };
        self.call("", sent, Some(done), Call::OpenSession(open), Response::Opened { left_ms })
    }

    /// A keep-alive of that session.
    pub(super) fn kept_alive(self, sent: u64, done: u64) -> Self {
        let renew = history::Renew { lease: session().to_string().into(), token: None, ttl_ms: 1_000 };
        self.call("", sent, Some(done), Call::Renew(renew), Response::Renewed { left_ms: 1_000 })
    }

    /// Gives the last grant another token.
    pub(super) fn with_token(mut self, other: u64) -> Self {
        if let Some(Record { response: Response::Granted { token, .. }, .. }) = self.evidence.history.records.last_mut()
        {
            *token = other;
        }
        self
    }

    /// Gives the last call another request id.
    pub(super) fn with_last_request(mut self, counter: u64) -> Self {
        if let Some(Record { call: Call::Acquire(acquire), .. }) = self.evidence.history.records.last_mut() {
            acquire.request = Some(request(counter));
        }
        self
    }

    pub(super) fn released(self, lock: &str, token: u64, sent: u64, done: u64) -> Self {
        self.call(lock, sent, Some(done), Call::Release(history::Release { token }), Response::Released(true))
    }

    pub(super) fn forced(self, lock: &str, token: u64, sent: u64, done: u64) -> Self {
        self.call(lock, sent, Some(done), Call::ForceRelease(history::Release { token }), Response::Released(true))
    }

    pub(super) fn believed(self, lock: &str, token: u64, at: u64) -> Self {
        self.call(lock, at, Some(at), Call::Believe { token }, Response::Held)
    }

    pub(super) fn read(self, lock: &str, sent: u64, done: u64, revision: u64, holders: &[(u64, Mode)]) -> Self {
        let holders = holders.iter().map(|(token, mode)| SeenHolder { token: *token, left_ms: 1, mode: *mode });
        let response = Response::Seen { revision, holders: holders.collect() };
        self.call(lock, sent, Some(done), Call::Get, response)
    }

    pub(super) fn fault(mut self, begin: u64, end: u64) -> Self {
        let (begin, end) = (Moment::default().plus_ms(begin), Some(Moment::default().plus_ms(end)));
        self.evidence.history.faults.push(Fault { what: "kill -9".into(), node: Some(1), begin, end });
        self
    }

    /// One entry with one command. Its index is its place in the log, its log time `now`.
    pub(super) fn entry(self, now: u64, operation: Operation, outcome: Outcome) -> Self {
        let index = self.entries.len() as u64 + 1;
        let commands = vec![Command { principal: None, not_after: None, operation }];
        self.raw(Entry { commands, outcomes: vec![outcome], ..normal(index, now) })
    }

    pub(super) fn raw(mut self, entry: Entry) -> Self {
        self.entries.push(entry);
        self
    }

    /// The founding entry: tokens and leases begin at 1.
    pub(super) fn founded(self) -> Self {
        let limits = Limits::default();
        let found = Found { cluster: ClusterId(1), counter_start: 1, limits, level: LEVEL_MAX };
        self.entry(0, Operation::Found(found), Outcome::Founded)
    }

    /// An acquire's entry. `wait`: how long it waits.
    pub(super) fn acquire(self, now: u64, lock: &str, counter: u64, wait: Option<u64>, outcome: Outcome) -> Self {
        self.entry(now, acquire(lock, counter, 1, wait), outcome)
    }

    pub(super) fn release(self, now: u64, lock: &str, token: u64, released: bool) -> Self {
        let locks = vec![HeldLock { name: lock.into(), token: FencingToken(token) }];
        let release = leasehold_state_machine::Release { namespace: "default".into(), locks, all_or_nothing: false };
        let reason = (!released).then_some(LossReason::Released);
        let released = Released { released, reason, still_held: false };
        self.entry(now, Operation::Release(release), Outcome::Released(vec![released]))
    }

    pub(super) fn force_release(self, now: u64, lock: &str, token: u64) -> Self {
        let force = ForceRelease {
            namespace: "default".into(),
            name: lock.into(),
            token: FencingToken(token),
            reason: "why".into(),
        };
        let released = Released { released: true, reason: None, still_held: false };
        self.entry(now, Operation::ForceRelease(force), Outcome::ForceReleased(released))
    }

    pub(super) fn open(self, now: u64) -> Self {
        let open = OpenSession {
            session: session(),
            namespace: "default".into(),
            ttl_ms: 1_000,
            owner: "o".into(),
            metadata: String::new(),
        };
        self.entry(now, Operation::OpenSession(open), Outcome::Opened(Opened { left_ms: 1_000 }))
    }

    pub(super) fn close(self, now: u64, lease: LeaseId, grants_ended: u32) -> Self {
        let closed = Closed { closed: true, grants_ended };
        self.entry(now, Operation::CloseLease(CloseLease { lease }), Outcome::Closed(closed))
    }

    pub(super) fn renew(self, now: u64, token: u64) -> Self {
        self.renew_lease(now, LeaseId(token.into()))
    }

    /// A renewal that found the lease alive.
    pub(super) fn renew_lease(self, now: u64, lease: LeaseId) -> Self {
        let leases = vec![RenewLease { lease, ttl_ms: None, exact: None }];
        let renew = Renew { leases, all_or_nothing: false };
        let renewed = Renewed::Alive { left_ms: 1_000, forced: 0 };
        self.entry(now, Operation::Renew(renew), Outcome::Renewed(vec![renewed]))
    }

    pub(super) fn tick(self, now: u64) -> Self {
        self.entry(now, Operation::Tick, Outcome::Done)
    }

    /// The entries so far are the log of this node; the next call begins another one's.
    pub(super) fn node(mut self, node: u64) -> Self {
        let entries = std::mem::take(&mut self.entries).into_iter().map(Into::into).collect();
        self.evidence.nodes.push(NodeLog { node, entries, snapshot: None });
        self
    }

    /// What the checker says about one invariant.
    pub(super) fn breaches(&self, invariant: Invariant) -> Vec<String> {
        let report = check(&self.evidence);
        let breaches = report.violations().iter().filter(|violation| violation.invariant == invariant);
        breaches.map(ToString::to_string).collect()
    }

    /// The invariant was checked, and holds.
    pub(super) fn assert_holds(&self, invariant: Invariant) {
        let report = check(&self.evidence);
        assert!(report.checked(invariant) > 0, "nothing was checked: {report}");
        assert_eq!(self.breaches(invariant), Vec::<String>::new());
    }

    /// The same, where also the model agrees with the log: the log of the test is a possible one.
    pub(super) fn assert_holds_in_a_true_log(&self, invariant: Invariant) {
        assert_eq!(self.breaches(Invariant::C1), Vec::<String>::new());
        self.assert_holds(invariant);
    }

    /// The invariant is broken, and the first message has all of these words.
    pub(super) fn assert_broken(&self, invariant: Invariant, words: &[&str]) {
        let breaches = self.breaches(invariant);
        let first = breaches.first().unwrap_or_else(|| panic!("the breach of {invariant} was not found"));
        for word in words {
            assert!(first.contains(word), "`{word}` is missing in: {first}");
        }
    }
}

/// A normal entry of leader 1 without commands.
pub(super) fn normal(index: u64, now: u64) -> Entry {
    Entry {
        index,
        term: 1,
        leader: 1,
        kind: Kind::Normal,
        at: Some(now),
        stamped: Some(LeaderStamp { term: 1, node: 1 }),
        committed: true,
        commands: Vec::new(),
        outcomes: Vec::new(),
        now,
        hash: format!("{index:032x}"),
    }
}

/// A blank entry of leader 1.
pub(super) fn blank(index: u64, now: u64) -> Entry {
    Entry { kind: Kind::Blank, at: None, stamped: None, ..normal(index, now) }
}

pub(super) fn acquire(lock: &str, counter: u64, attempt: Attempt, wait: Option<u64>) -> Operation {
    acquire_as(lock, counter, attempt, wait, |_| {})
}

pub(super) fn acquire_as(
    lock: &str,
    counter: u64,
    attempt: Attempt,
    wait: Option<u64>,
    change: impl FnOnce(&mut leasehold_state_machine::Acquire),
) -> Operation {
    let mut acquire = leasehold_state_machine::Acquire {
        request: request(counter),
        attempt,
        lowest_unanswered: 1,
        namespace: "default".into(),
        locks: vec![LockRequest { name: lock.into(), mode: Mode::Exclusive }],
        owner: "o".into(),
        metadata: String::new(),
        lease: LeaseRequest::Own { ttl_ms: 1_000 },
        wait: wait.map_or(Wait::Try, |wait_ms| Wait::For { wait_ms }),
        actor: None,
        lock_delay_ms: 0,
        value: Default::default(),
    };
    change(&mut acquire);
    Operation::Acquire(acquire)
}

pub(super) fn cancel(counter: u64) -> Operation {
    Operation::CancelAcquire(CancelAcquire { request: request(counter), attempt: 1 })
}

/// The outcome of an acquire that was granted at once.
pub(super) fn grants(lock: &str, token: u64) -> Outcome {
    grants_as(lock, token, Mode::Exclusive, LeaseId(token.into()), 1_000)
}

pub(super) fn grants_as(lock: &str, token: u64, mode: Mode, lease: LeaseId, left_ms: u64) -> Outcome {
    let grants = vec![GrantedLock { name: lock.into(), mode, token: FencingToken(token) }];
    Outcome::Granted(Granted { lease, grants, left_ms, confirm: false, forced: 0 })
}

pub(super) fn queued(ahead: u32, deadline: u64) -> Outcome {
    Outcome::Queued(Queued { ahead, deadline: LogTime(deadline) })
}
