//! The fixed inputs: commands of callers that are numbered, and a log that they are applied from.

use bytes::Bytes;
use leasehold_state_machine::{
    Acquire, Batch, ClusterId, Command, Effects, EntryId, FencingToken, Found, HeldLock, LEVEL_MAX, LeaderStamp,
    LeaseId, LeaseRequest, Limits, LockRequest, LogTime, Mode, OpenSession, Operation, Outcome, Release, RequestId,
    StateMachine, Wait, codec,
};

/// Who leads.
pub(crate) const LEADER: LeaderStamp = LeaderStamp { term: 1, node: 1 };
/// Log time of the first entry, in ms.
const FIRST_MS: u64 = 1_000;
/// A call may take so long, in ms.
const CALL_MS: u64 = 6_000;

/// A log that is applied as it grows.
pub(crate) struct Log {
    pub(crate) machine: StateMachine,
    index: u64,
    now: LogTime,
}

impl Log {
    /// A founded cluster.
    pub(crate) fn new() -> Self {
        let mut log = Self { machine: StateMachine::new(), index: 0, now: LogTime(FIRST_MS) };
        let limits = Limits::default();
        let found = Found { cluster: ClusterId(1), counter_start: 1 << 40, limits, level: LEVEL_MAX };
        log.apply(vec![Operation::Found(found)]);
        log
    }

    /// The next entry, `ms` of log time after the last one.
    pub(crate) fn next(&mut self, ms: u64, operations: Vec<Operation>) -> (EntryId, Batch) {
        self.index += 1;
        self.now = self.now.plus_ms(ms);
        let commands = operations.into_iter().map(|operation| command(self.now, operation)).collect();
        (EntryId { leader: LEADER, index: self.index }, Batch { at: self.now, stamped_by: LEADER, commands })
    }

    /// Applies the operations as one entry, 1 ms after the last one.
    pub(crate) fn apply(&mut self, operations: Vec<Operation>) -> Effects {
        let (entry, batch) = self.next(1, operations);
        self.machine.apply(entry, &batch)
    }
}

/// A command whose call begins at `now`.
pub(crate) fn command(now: LogTime, operation: Operation) -> Command {
    Command { principal: None, not_after: Some(now.plus_ms(CALL_MS)), operation }
}

/// The command as it is sent and logged.
pub(crate) fn encoded(operation: Operation) -> Bytes {
    codec::encode_command(&command(LogTime(FIRST_MS), operation))
}

fn lock_name(caller: u64) -> String {
    format!("bench/77000/{caller}")
}

fn acquire(caller: u64, round: u64, name: String, lease: LeaseRequest, wait: Wait) -> Operation {
    Operation::Acquire(Acquire {
        request: RequestId { client: 77_000 + caller, counter: round },
        attempt: 1,
        lowest_unanswered: round,
        namespace: "default".to_owned(),
        locks: vec![LockRequest { name, mode: Mode::Exclusive }],
        owner: "bench".to_owned(),
        metadata: String::new(),
        lease,
        wait,
        actor: None,
        lock_delay_ms: 0,
        value: Bytes::new(),
    })
}

/// A try of a caller's own lock, under a lease of its own.
pub(crate) fn lock(caller: u64, round: u64, ttl_ms: u64) -> Operation {
    acquire(caller, round, lock_name(caller), LeaseRequest::Own { ttl_ms }, Wait::Try)
}

/// Queues for the lock that all sessions want.
pub(crate) fn wait_for_shared_lock(caller: u64, round: u64) -> Operation {
    let lease = LeaseRequest::Session { session: session(caller) };
    acquire(caller, round, "bench/wanted".to_owned(), lease, Wait::For { wait_ms: 30_000 })
}

/// Releases what [`lock`] took.
pub(crate) fn unlock(caller: u64, token: FencingToken) -> Operation {
    release(lock_name(caller), token)
}

/// Releases the lock that all sessions want.
pub(crate) fn release_shared_lock(token: FencingToken) -> Operation {
    release("bench/wanted".to_owned(), token)
}

fn release(name: String, token: FencingToken) -> Operation {
    let locks = vec![HeldLock { name, token }];
    Operation::Release(Release { namespace: "default".to_owned(), locks, all_or_nothing: false })
}

/// The session of a caller.
pub(crate) fn session(caller: u64) -> LeaseId {
    LeaseId((1 << 64) + 77_000_000_007 * u128::from(caller + 1))
}

/// Opens it, for five minutes.
pub(crate) fn open_session(caller: u64) -> Operation {
    let (namespace, owner) = ("default".to_owned(), format!("bench-{caller}"));
    Operation::OpenSession(OpenSession {
        session: session(caller),
        namespace,
        ttl_ms: 300_000,
        owner,
        metadata: String::new(),
    })
}

/// The tokens of acquires that were all granted.
pub(crate) fn tokens(outcomes: &[Outcome]) -> Vec<FencingToken> {
    let token = |outcome: &Outcome| match outcome {
        Outcome::Granted(granted) => granted.grants[0].token,
        other => panic!("granted was expected, not {other:?}"),
    };
    outcomes.iter().map(token).collect()
}
