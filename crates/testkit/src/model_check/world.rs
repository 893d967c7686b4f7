//! A world: who asks for what, what may go wrong, and how far time goes.

use leasehold_state_machine::{Bounds, Limits, Mode, REMEMBER_MS};

use super::coverage::Seen;
use super::planted::Planted;

/// Number of a lock in [`LOCKS`].
pub type Lock = u8;
/// Names of the locks.
pub const LOCKS: [&str; 2] = ["a", "b"];
/// The first lock.
pub const A: Lock = 0;
/// The second lock.
pub const B: Lock = 1;
/// One of the modes that need no numbers.
pub const EXCLUSIVE: Mode = Mode::Exclusive;
/// See [`EXCLUSIVE`].
pub const SHARED: Mode = Mode::Shared;

/// `permits` of two.
#[must_use]
pub fn permits(permits: u32) -> Mode {
    Mode::Permits { permits, limit: 2 }
}

/// A bounded world. All times are in steps of log time.
#[derive(Debug, Clone)]
pub struct World {
    /// Names it in reports and on the command line.
    pub name: &'static str,
    /// Who takes part.
    pub clients: Vec<ClientPlan>,
    /// How many steps time takes in all.
    pub steps: u8,
    /// Milliseconds of log time in one step.
    pub step_ms: u64,
    /// Whether an entry that carries a command may also move time by a step. Where no bound on expiries is reached, that is
    /// the same as a tick before it.
    pub time_in_commands: bool,
    /// Capacities of the machine's tables.
    pub bounds: Bounds,
    /// Limits of the namespace.
    pub limits: Limits,
    /// Whether clients tell their lowest unanswered counter.
    pub marks: bool,
    /// A mistake in the environment of the machine, which the rules must find.
    pub planted: Option<Planted>,
    /// What must happen somewhere in the world: otherwise it does not show what it is there for.
    pub shows: Vec<Seen>,
}

impl World {
    /// Ten milliseconds a step: nothing that is remembered of requests is forgotten within the world.
    #[must_use]
    pub fn new(name: &'static str, steps: u8, clients: Vec<ClientPlan>) -> Self {
        Self {
            name,
            clients,
            steps,
            step_ms: 10,
            time_in_commands: false,
            bounds: Bounds::default(),
            limits: Limits { ttl_ms_min: 1, wait_ms_max: 1 << 30, ..Limits::default() },
            marks: false,
            planted: None,
            shows: Vec::new(),
        }
    }

    /// What it must show.
    #[must_use]
    pub fn showing(mut self, seen: &[Seen]) -> Self {
        self.shows.extend_from_slice(seen);
        self
    }

    /// Clients tell their lowest unanswered counter.
    #[must_use]
    pub fn with_marks(mut self) -> Self {
        self.marks = true;
        self
    }

    /// Steps so long that three of them are just within what is remembered of requests, and four are beyond it.
    #[must_use]
    pub fn forgetting(mut self) -> Self {
        self.step_ms = REMEMBER_MS / 3;
        self.limits.ttl_ms_max = 1 << 30;
        self
    }

    /// At most so many may wait for a lock.
    #[must_use]
    pub fn queueing_at_most(mut self, waiters: u32) -> Self {
        self.limits.waiters_per_lock_max = waiters;
        self
    }

    /// At most so many due items go per entry.
    #[must_use]
    pub fn expiring_at_most(mut self, items: usize) -> Self {
        self.bounds.expiries_per_entry_max = items;
        self.time_in_commands = true;
        self
    }

    /// With a mistake in it; nothing needs to be shown but that it is found.
    #[must_use]
    pub fn with_planted(mut self, planted: Planted) -> Self {
        self.planted = Some(planted);
        self.shows.clear();
        self
    }

    /// Whether anything that is remembered of requests may be forgotten within the world.
    #[must_use]
    pub fn forgets(&self) -> bool {
        u64::from(self.steps) * self.step_ms >= REMEMBER_MS
    }

    /// Whether entries leave due items for later ones.
    #[must_use]
    pub fn expires_late(&self) -> bool {
        self.bounds.expiries_per_entry_max < Bounds::default().expiries_per_entry_max
    }

    /// Whether every request names an actor: then no cycle of waits may stand.
    #[must_use]
    pub fn all_act(&self) -> bool {
        self.clients.iter().flat_map(|client| &client.tasks).all(|task| task.actor.is_some())
    }

    pub(super) fn ask(&self, client: u8, task: u8, step: u8) -> &Ask {
        &self.clients[usize::from(client)].tasks[usize::from(task)].asks[usize::from(step)]
    }

    pub(super) fn ms(&self, steps: u8) -> u64 {
        u64::from(steps) * self.step_ms
    }
}

/// What one client may do.
#[derive(Debug, Clone, Default)]
pub struct ClientPlan {
    /// Its session, if it has one.
    pub session: Option<SessionPlan>,
    /// Its tasks, each with asks of its own.
    pub tasks: Vec<TaskPlan>,
    /// Renewals that it may send, of any of its leases.
    pub renewals: u8,
    /// It may stop for ever.
    pub crashes: bool,
    /// It may close its session, or the lease of a grant.
    pub closes: bool,
    /// It may look once who holds this lock, and end that grant by force.
    pub forces: Option<Lock>,
}

/// See [`ClientPlan::session`].
#[derive(Debug, Clone, Copy)]
pub struct SessionPlan {
    /// Its time to live.
    pub ttl: u8,
    /// It is open when the world begins.
    pub open: bool,
}

/// Asks that follow each other; what one got is kept while the next is asked.
#[derive(Debug, Clone)]
pub struct TaskPlan {
    /// Named in its requests.
    pub actor: Option<&'static str>,
    /// One after the other.
    pub asks: Vec<Ask>,
}

/// One acquire, with what its client may do about it.
#[derive(Debug, Clone)]
pub struct Ask {
    /// What is asked for.
    pub locks: Vec<(Lock, Mode)>,
    /// What the grants hang on.
    pub lease: AskLease,
    /// How long it waits; 0: a try.
    pub wait: u8,
    /// Sends of its id, at most.
    pub attempts: u8,
    /// See [`leasehold_state_machine::Acquire::lock_delay_ms`].
    pub lock_delay: u8,
    /// Its client may give up, by a cancel.
    pub cancels: bool,
    /// Its call may break: then the node cancels the attempt, and the client sends the next one elsewhere.
    pub breaks: bool,
    /// Its client may release what it got.
    pub releases: bool,
    /// Only asked while the task holds something.
    pub nested: bool,
}

/// See [`Ask::lease`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskLease {
    /// A lease of its own with this ttl.
    Own(u8),
    /// The client's session.
    Session,
    /// That of what the task holds, which is converted.
    Convert,
}

impl ClientPlan {
    /// A client without a session, with one task.
    #[must_use]
    pub fn asking(asks: Vec<Ask>) -> Self {
        Self { tasks: vec![TaskPlan { actor: None, asks }], ..Self::default() }
    }

    /// The same under a session that is open from the start.
    #[must_use]
    pub fn in_session(ttl: u8, asks: Vec<Ask>) -> Self {
        Self { session: Some(SessionPlan { ttl, open: true }), ..Self::asking(asks) }
    }

    /// A client with a session, and a named task for each list of asks.
    #[must_use]
    pub fn acting(ttl: u8, tasks: Vec<(&'static str, Vec<Ask>)>) -> Self {
        let tasks = tasks.into_iter().map(|(actor, asks)| TaskPlan { actor: Some(actor), asks }).collect();
        Self { session: Some(SessionPlan { ttl, open: true }), tasks, ..Self::default() }
    }

    /// Its session has to be opened.
    #[must_use]
    pub fn opening(mut self) -> Self {
        self.session = self.session.map(|session| SessionPlan { open: false, ..session });
        self
    }

    /// See [`Self::renewals`].
    #[must_use]
    pub fn renewing(mut self, renewals: u8) -> Self {
        self.renewals = renewals;
        self
    }

    /// See [`Self::crashes`].
    #[must_use]
    pub fn crashing(mut self) -> Self {
        self.crashes = true;
        self
    }

    /// See [`Self::closes`].
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    /// See [`Self::forces`].
    #[must_use]
    pub fn forcing(mut self, lock: Lock) -> Self {
        self.forces = Some(lock);
        self
    }
}

impl Ask {
    fn new(locks: &[(Lock, Mode)], lease: AskLease, wait: u8) -> Self {
        Self {
            locks: locks.to_vec(),
            lease,
            wait,
            attempts: 1,
            lock_delay: 0,
            cancels: false,
            breaks: false,
            releases: false,
            nested: false,
        }
    }

    /// Locks under a lease of their own.
    #[must_use]
    pub fn own(locks: &[(Lock, Mode)], ttl: u8, wait: u8) -> Self {
        Self::new(locks, AskLease::Own(ttl), wait)
    }

    /// Locks under the client's session.
    #[must_use]
    pub fn session(locks: &[(Lock, Mode)], wait: u8) -> Self {
        Self::new(locks, AskLease::Session, wait)
    }

    /// The lock that the task holds, in this mode.
    #[must_use]
    pub fn convert(lock: Lock, mode: Mode, wait: u8) -> Self {
        Self { nested: true, ..Self::new(&[(lock, mode)], AskLease::Convert, wait) }
    }

    /// See [`Self::attempts`].
    #[must_use]
    pub fn attempts(mut self, attempts: u8) -> Self {
        self.attempts = attempts;
        self
    }

    /// See [`Self::lock_delay`].
    #[must_use]
    pub fn delaying(mut self, lock_delay: u8) -> Self {
        self.lock_delay = lock_delay;
        self
    }

    /// See [`Self::cancels`].
    #[must_use]
    pub fn cancelling(mut self) -> Self {
        self.cancels = true;
        self
    }

    /// See [`Self::breaks`].
    #[must_use]
    pub fn breaking(mut self) -> Self {
        self.breaks = true;
        self
    }

    /// See [`Self::releases`].
    #[must_use]
    pub fn releasing(mut self) -> Self {
        self.releases = true;
        self
    }

    /// See [`Self::nested`].
    #[must_use]
    pub fn nested(mut self) -> Self {
        self.nested = true;
        self
    }
}
