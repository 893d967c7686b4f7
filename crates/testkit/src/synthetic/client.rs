//! A simulated client: one call at a time, of every common kind.

use std::sync::Arc;

use leasehold_state_machine::{
    FencingToken, Granted, HeldLock, LeaseId, LeaseRequest, LockRequest, Mode, OpenSession, Operation, Outcome,
    Release, Renew, RenewLease, Renewed, RequestId, StateMachine, Wait,
};
use rand::Rng;
use rand::rngs::StdRng;

use crate::clock::Moment;
use crate::history::{self, Call, Record, Response, SeenHolder};

const NAMESPACE: &str = "default";
const SESSION_TTL_MS: u64 = 10_000;
const KEEP_ALIVE_US: u64 = 3_000_000;
/// Half of all calls go to so many of the locks.
const HOT_LOCKS: usize = 100;

/// A grant that a client believes to have.
struct Held {
    lock: usize,
    token: u64,
    lease: Arc<str>,
    lease_id: LeaseId,
    ttl_ms: u64,
    in_session: bool,
}

pub(super) struct Client {
    number: u32,
    names: Arc<[Arc<str>]>,
    next_request: u64,
    session: LeaseId,
    /// When the session is to be kept alive, in µs; None before it was opened.
    keep_alive_us: Option<u64>,
    held: Option<Held>,
    lock: usize,
    sent_us: u64,
    command: Option<Operation>,
    call: Call,
}

impl Client {
    pub(super) fn new(number: u32, names: Arc<[Arc<str>]>) -> Self {
        Self {
            number,
            names,
            next_request: 1,
            session: LeaseId((u128::from(number) + 1) << 100),
            keep_alive_us: None,
            held: None,
            lock: 0,
            sent_us: 0,
            command: None,
            call: Call::Get,
        }
    }

    pub(super) fn take_command(&mut self) -> Operation {
        self.command.take().unwrap_or(Operation::Tick)
    }

    /// The request of the acquire that is under way.
    pub(super) fn request(&self) -> Option<RequestId> {
        match &self.call {
            Call::Acquire(acquire) => acquire.request,
            _ => None,
        }
    }

    /// Decides what comes next; false: a read.
    pub(super) fn choose(&mut self, random: &mut StdRng, at_us: u64) -> bool {
        self.sent_us = at_us;
        match self.keep_alive_us {
            None => self.open(),
            Some(due) if due <= at_us => self.keep_alive(),
            Some(_) => match self.held.take() {
                Some(held) => return self.go_on_with(held, random),
                None if random.random_bool(0.2) => return self.look(random),
                None => self.acquire(random),
            },
        }
        true
    }

    fn pick(&self, random: &mut StdRng) -> usize {
        let locks = if random.random_bool(0.5) { HOT_LOCKS.min(self.names.len()) } else { self.names.len() };
        random.random_range(0..locks)
    }

    fn look(&mut self, random: &mut StdRng) -> bool {
        self.lock = self.pick(random);
        self.call = Call::Get;
        false
    }

    fn open(&mut self) {
        let session: Arc<str> = self.session.to_string().into();
        self.call = Call::OpenSession(history::OpenSession { session, ttl_ms: SESSION_TTL_MS });
        let (owner, metadata) = (format!("client-{}", self.number), String::new());
        let namespace = NAMESPACE.to_owned();
        let open = OpenSession { session: self.session, namespace, ttl_ms: SESSION_TTL_MS, owner, metadata };
        self.command = Some(Operation::OpenSession(open));
    }

    fn keep_alive(&mut self) {
        let lease: Arc<str> = self.session.to_string().into();
        self.call = Call::Renew(history::Renew { lease, token: None, ttl_ms: SESSION_TTL_MS });
        self.command = Some(renew(self.session));
    }

    /// Releases, renews, looks, or forgets what it has.
    fn go_on_with(&mut self, held: Held, random: &mut StdRng) -> bool {
        self.lock = held.lock;
        match random.random_range(0..100) {
            0..70 => {
                self.call = Call::Release(history::Release { token: held.token });
                let name = self.name();
                let locks = vec![HeldLock { name, token: FencingToken(held.token) }];
                let release = Release { namespace: NAMESPACE.into(), locks, all_or_nothing: false };
                self.command = Some(Operation::Release(release));
            }
            70..80 if !held.in_session => {
                let (lease, token) = (Arc::clone(&held.lease), Some(held.token));
                self.call = Call::Renew(history::Renew { lease, token, ttl_ms: held.ttl_ms });
                self.command = Some(renew(held.lease_id));
                self.held = Some(held);
            }
            80..90 => {
                self.call = Call::Get;
                self.held = Some(held);
                return false;
            }
            // It runs out, or hangs on the session.
            _ => self.acquire(random),
        }
        true
    }

    fn acquire(&mut self, random: &mut StdRng) {
        self.lock = self.pick(random);
        let mode = match (self.lock % 10, random.random_bool(0.7)) {
            (7 | 8, true) => Mode::Shared,
            (9, _) => Mode::Permits { permits: random.random_range(1..=2), limit: 4 },
            _ => Mode::Exclusive,
        };
        let in_session = random.random_bool(0.2);
        let ttl_ms = if in_session { 0 } else { random.random_range(200..2_000) };
        let wait_ms = random.random_bool(0.3).then(|| random.random_range(50..1_000));
        let request = RequestId { client: u64::from(self.number) + 1, counter: self.next_request };
        self.next_request += 1;
        let session: Option<Arc<str>> = in_session.then(|| self.session.to_string().into());
        self.call = Call::Acquire(history::Acquire {
            request: Some(request),
            attempts: 1,
            ttl_ms,
            wait_ms,
            mode,
            session,
            replaces: None,
            lock_delay_ms: 0,
            locks: 1,
        });
        let own = LeaseRequest::Own { ttl_ms };
        self.command = Some(Operation::Acquire(leasehold_state_machine::Acquire {
            request,
            attempt: 1,
            lowest_unanswered: request.counter,
            namespace: NAMESPACE.into(),
            locks: vec![LockRequest { name: self.name(), mode }],
            owner: format!("client-{}", self.number),
            metadata: String::new(),
            lease: if in_session { LeaseRequest::Session { session: self.session } } else { own },
            wait: wait_ms.map_or(Wait::Try, |wait_ms| Wait::For { wait_ms }),
            actor: None,
            lock_delay_ms: 0,
            value: Default::default(),
        }));
    }

    fn name(&self) -> String {
        self.names[self.lock].trim_start_matches("default/").to_owned()
    }

    /// A read of the state as it is at `sent_us`.
    pub(super) fn read(&self, machine: &StateMachine, index: u64, sent_us: u64, done_us: u64) -> Record {
        let view = machine.lock(NAMESPACE, &self.name());
        let holders = view.into_iter().flat_map(|view| view.holders);
        let seen = |holder: leasehold_state_machine::HolderView| SeenHolder {
            token: holder.token.0,
            left_ms: holder.left_ms,
            mode: holder.mode,
        };
        let response = Response::Seen { revision: index, holders: holders.map(seen).collect() };
        self.record(sent_us, Some(done_us), Call::Get, response)
    }

    /// What it was answered; nothing where the answer was lost.
    pub(super) fn answered(&mut self, outcome: &Outcome, done_us: u64, lost: bool) -> Record {
        let call = std::mem::replace(&mut self.call, Call::Get);
        if lost && !matches!(call, Call::OpenSession(_)) {
            self.held = None;
            return self.record(self.sent_us, None, call, Response::Unknown);
        }
        let response = match outcome {
            Outcome::Granted(granted) => self.hold(&call, granted),
            Outcome::Held(_) => Response::Held,
            Outcome::Opened(opened) => {
                self.keep_alive_us = Some(done_us + KEEP_ALIVE_US);
                Response::Opened { left_ms: opened.left_ms }
            }
            Outcome::Released(released) => Response::Released(released[0].released),
            Outcome::Renewed(renewed) => self.renewed(&call, &renewed[0], done_us),
            Outcome::Deadlock(_) => Response::Deadlock,
            other => Response::Failed { error: format!("{other:?}").into() },
        };
        self.record(self.sent_us, Some(done_us), call, response)
    }

    fn renewed(&mut self, call: &Call, renewed: &Renewed, done_us: u64) -> Response {
        let of_session = matches!(call, Call::Renew(renew) if renew.token.is_none());
        match renewed {
            Renewed::Alive { left_ms, .. } => {
                if of_session {
                    self.keep_alive_us = Some(done_us + KEEP_ALIVE_US);
                }
                Response::Renewed { left_ms: *left_ms }
            }
            _ => {
                if of_session {
                    // Another one, with another name.
                    self.session = LeaseId(self.session.0 + 1);
                    self.keep_alive_us = None;
                }
                self.held = None;
                Response::Gone
            }
        }
    }

    /// A wait has ended.
    pub(super) fn waited(&mut self, granted: Option<Granted>, done_us: u64) -> Record {
        let call = std::mem::replace(&mut self.call, Call::Get);
        let response = granted.map_or(Response::WaitEnded, |granted| self.hold(&call, &granted));
        self.record(self.sent_us, Some(done_us), call, response)
    }

    fn hold(&mut self, call: &Call, granted: &Granted) -> Response {
        let Call::Acquire(acquire) = call else { return Response::Unknown };
        let token = granted.grants[0].token.0;
        let lease: Arc<str> = granted.lease.to_string().into();
        self.held = Some(Held {
            lock: self.lock,
            token,
            lease: Arc::clone(&lease),
            lease_id: granted.lease,
            ttl_ms: acquire.ttl_ms,
            in_session: acquire.session.is_some(),
        });
        let left_ms = if granted.confirm { 0 } else { granted.left_ms };
        Response::Granted { token, lease, left_ms, confirm: granted.confirm }
    }

    fn record(&self, sent_us: u64, done_us: Option<u64>, call: Call, response: Response) -> Record {
        let of_session = match &call {
            Call::OpenSession(_) => true,
            Call::Renew(renew) => renew.token.is_none(),
            _ => false,
        };
        let lock = if of_session { "".into() } else { Arc::clone(&self.names[self.lock]) };
        let at = |us: u64| Moment(us * 1_000);
        let (invoke, complete) = (at(sent_us), done_us.map(at));
        Record { worker: self.number, lock, invoke, first_send: None, complete, call, response }
    }
}

fn renew(lease: LeaseId) -> Operation {
    Operation::Renew(Renew { leases: vec![RenewLease { lease, ttl_ms: None, exact: None }], all_or_nothing: false })
}
