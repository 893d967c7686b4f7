//! A caller: a small state machine that says what to send next. It knows nothing of connections, so that the same one runs on a
//! stream, with all others of its connection in one task, and on unary calls, in a task of its own.

use std::time::Duration;

use leasehold_client::clock::Moment;
use leasehold_platform::random;
use leasehold_proto::v1::answer::Answer;
use leasehold_proto::v1::operation::Operation;
use leasehold_proto::v1::{self, AcquireRequest, CloseLeaseRequest, OpenSessionRequest, ReleaseRequest, RequestId};
use rand::Rng;

use super::record::Record;

/// How long a caller stays away from what has just failed.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(20);
/// Longest wait of one attempt: what the limits of a namespace allow by default.
pub(super) const WAIT_MS: u64 = 30_000;
/// Who holds the locks, as others see it.
pub(super) const OWNER: &str = "leasehold bench";

/// The three parts of a run. All callers end one before any begins the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Opens sessions, takes what others are to find held.
    Prepare,
    /// The load, warm-up included.
    Run,
    /// Ends what was prepared.
    CleanUp,
}

/// What a caller does next.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are sends; a box would be one more allocation for each")]
pub(super) enum Step {
    /// Sends this, and waits for its answer.
    Send(Operation),
    /// Is asked again then, or a little later.
    At(Moment),
    /// Has nothing left to do in this phase.
    Done,
}

/// What a caller is told.
pub(super) struct Context<'a> {
    pub(super) phase: Phase,
    /// When the answer arrived.
    pub(super) now: Moment,
    /// The load is to end: what is held is given back, nothing new is taken.
    pub(super) ending: bool,
    pub(super) record: &'a mut Record,
}

pub(super) trait Caller: Send {
    /// Called at the beginning of a phase, with every answer, and without one when the time of [`Step::At`] has come. Without an
    /// answer, something that was sent failed or was never answered (errors are counted elsewhere): it is sent again.
    fn step(&mut self, context: &mut Context<'_>, answer: Option<Answer>) -> Step;
}

/// Every caller is a client instance of its own: it has one request under way at most, so that the lowest unanswered counter is always
/// that of the request itself.
#[derive(Debug)]
pub(super) struct RequestIds {
    client: u64,
    counter: u64,
    attempt: u32,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        Self { client: random::rng().random_range(1..=u64::MAX), counter: 0, attempt: 0 }
    }

    /// The next acquire has an id of its own.
    pub(super) fn fresh(&mut self) {
        self.counter += 1;
        self.attempt = 0;
    }

    /// Marks one more send of the id.
    pub(super) fn mark(&mut self, acquire: AcquireRequest) -> Operation {
        self.attempt += 1;
        let request_id = Some(RequestId { client: self.client, counter: self.counter });
        Operation::Acquire(AcquireRequest { request_id, attempt: self.attempt, ..acquire })
    }
}

/// What a grant hangs on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Under<'a> {
    /// A lease of its own, of so many milliseconds.
    OwnLease(u64),
    Session(&'a str),
}

/// An exclusive acquire. `wait_ms`: none is a try.
pub(super) fn acquire(namespace: &str, names: &[String], under: Under<'_>, wait_ms: Option<u64>) -> AcquireRequest {
    let lock = |name: &String| v1::LockRequest { name: name.clone(), ..v1::LockRequest::default() };
    let (ttl_ms, session) = match under {
        Under::OwnLease(ttl_ms) => (ttl_ms, String::new()),
        Under::Session(session) => (0, session.to_owned()),
    };
    AcquireRequest {
        namespace: namespace.to_owned(),
        locks: names.iter().map(lock).collect(),
        owner: OWNER.to_owned(),
        ttl_ms,
        wait_ms,
        session,
        ..AcquireRequest::default()
    }
}

pub(super) fn release(namespace: &str, name: &str, token: u64) -> Operation {
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    Operation::Release(ReleaseRequest { namespace, name, token, ..ReleaseRequest::default() })
}

pub(super) fn open_session(namespace: &str, session: &str, ttl_ms: u64) -> Operation {
    let (namespace, session, owner) = (namespace.to_owned(), session.to_owned(), OWNER.to_owned());
    Operation::OpenSession(OpenSessionRequest { namespace, session, ttl_ms, owner, metadata: String::new() })
}

pub(super) fn close_lease(lease: &str) -> Operation {
    Operation::CloseLease(CloseLeaseRequest { lease: lease.to_owned() })
}

/// The id of a new session.
pub(super) fn session_id() -> String {
    let mut random = random::rng();
    format!("{:016x}{:016x}", random.random_range(1..=u64::MAX), random.random_range(0..=u64::MAX))
}

/// What an answer was that nobody expects.
pub(super) fn unexpected(context: &mut Context<'_>, answer: &Answer) -> Step {
    let mut text = format!("unexpected: {answer:?}");
    let cut = text.char_indices().nth(60).map_or(text.len(), |(at, _)| at);
    text.truncate(cut);
    context.record.error(&text);
    Step::At(context.now.after(RETRY_AFTER))
}
