//! Random logs. A step holds picks that are resolved while the log runs, so that a log still makes sense when shrinking
//! has taken parts of it away.

use leasehold_state_machine::Limits;
use proptest::sample::Index;

pub const NAMES: [&str; 4] = ["a", "b", "c", "dd"];
pub const NAMESPACES: [&str; 2] = ["app", "other"];
pub const ACTORS: [&str; 3] = ["x", "y", "z"];
pub const CLIENTS: u64 = 4;
pub const SESSIONS: u64 = 4;

/// A cluster's whole life.
#[derive(Debug, Clone)]
pub struct Log {
    /// Small capacities of the tables.
    pub tight: bool,
    /// How many times slower than drawn the time runs.
    pub pace: u64,
    /// The format level that it is founded with.
    pub level: u32,
    /// Begins with open sessions that live long, and with roomy limits: there is much waiting, also in circles.
    pub crowd: bool,
    pub entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub time: Time,
    pub stamp: Stamp,
    /// Relative to log time before the entry.
    pub not_after: Option<i64>,
    pub steps: Vec<Step>,
    pub then: Then,
}

/// What the entry's stamp says.
#[derive(Debug, Clone)]
pub enum Time {
    /// So much after log time.
    Passes(i64),
    /// The earliest deadline, or a little before or after it.
    Deadline(i64),
}

/// Under which leader the entry lies, and which one stamped it.
#[derive(Debug, Clone, PartialEq)]
pub enum Stamp {
    Leader,
    NewLeader,
    /// A leader of an earlier term.
    Deposed,
}

/// What is tried after the entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Then {
    Nothing,
    /// Take the changed rows.
    Checkpoint,
    /// Go on with a state machine built from the last checkpoint and the log after it.
    Replay,
    /// Go on with a state machine built from all rows.
    Restore,
    /// Go on with what a snapshot file says.
    Snapshot,
}

/// One command.
#[derive(Debug, Clone)]
pub enum Step {
    Acquire(Acquire),
    /// Converts a grant.
    Convert {
        client: u64,
        token: Token,
        /// To the mode that it has, or to permits.
        wrong_mode: Option<Mode>,
        wait_ms: Option<u64>,
        lowest: u64,
        actor: Option<usize>,
        flaw: Option<Index>,
    },
    /// The very same command as an earlier acquire.
    Again {
        back: usize,
    },
    /// A later or earlier attempt of an earlier acquire, perhaps with another wait or another body.
    Later {
        back: usize,
        more: i32,
        wait_ms: Option<Option<u64>>,
        lowest: u64,
        change_body: bool,
    },
    Cancel {
        back: usize,
        attempt: u32,
    },
    CancelUnknown {
        client: u64,
        ahead: u64,
        attempt: u32,
    },
    Release {
        tokens: Vec<Token>,
        all_or_nothing: bool,
        flaw: Option<Index>,
    },
    Renew {
        leases: Vec<RenewLease>,
        all_or_nothing: bool,
    },
    Close {
        lease: Lease,
    },
    Open {
        session: u64,
        namespace: usize,
        ttl_ms: u64,
        owner: u64,
        flaw: Option<Index>,
    },
    SetValue {
        token: Token,
        version: i64,
        value: u8,
        flaw: Option<Index>,
    },
    Force {
        token: Token,
        flaw: Option<Index>,
    },
    Limits {
        namespace: Option<usize>,
        limits: Limits,
        flaw: Option<Index>,
    },
    Level {
        level: u32,
    },
    Found,
    Tick,
}

#[derive(Debug, Clone)]
pub struct Acquire {
    pub client: u64,
    pub namespace: usize,
    pub locks: Vec<(usize, Mode)>,
    pub lease: LeaseRequest,
    pub wait_ms: Option<u64>,
    pub lowest: u64,
    pub actor: Option<usize>,
    pub delay_ms: u64,
    pub value: u8,
    pub flaw: Option<Index>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    Exclusive,
    Shared,
    Permits(u32, u32),
}

#[derive(Debug, Clone)]
pub enum LeaseRequest {
    Own {
        ttl_ms: u64,
    },
    /// An open one, if there is one; of `session` otherwise.
    Session {
        open: Index,
        session: u64,
        owner: bool,
    },
}

/// Which token is meant.
#[derive(Debug, Clone)]
pub enum Token {
    /// One that is held; None are: the last one given out.
    Held(Index),
    /// So many before the next one.
    Back(u64),
    /// One that is held, with the name of another lock.
    OfAnother(Index),
}

/// Which lease is meant.
#[derive(Debug, Clone)]
pub enum Lease {
    Live(Index),
    Back(u64),
    Session(u64),
}

#[derive(Debug, Clone)]
pub struct RenewLease {
    pub lease: Lease,
    pub ttl_ms: Option<u64>,
    pub exact: Exact,
}

/// Whether a renewal sets an exact time.
#[derive(Debug, Clone)]
pub enum Exact {
    No,
    /// With a token of the lease.
    Own(Index),
    Other(Token),
}
