//! What happens at which failpoint of this process, and how often it came by.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

use crate::action::{Action, Plan};
use crate::{Kind, POINTS};

/// Arms failpoints from the start of a process: `NAME=ACTION;NAME=ACTION`.
pub const VARIABLE: &str = "LEASEHOLD_FAILPOINTS";

/// Why a failpoint cannot be set.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// There is none of that name.
    #[error("there is no failpoint {0}")]
    Unknown(String),
    /// The text is no action.
    #[error("{0}")]
    Action(String),
    /// The place can do nothing of the kind.
    #[error("failpoint {name} cannot do {action}: the code there is of the kind {kind:?}")]
    Unsuited {
        /// The failpoint.
        name: &'static str,
        /// What was asked for.
        action: String,
        /// What the place is.
        kind: Kind,
    },
}

/// A failpoint at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub name: &'static str,
    /// What happens there, as it is written; `off`.
    pub action: String,
    /// How often the process came by.
    pub hits: u64,
    /// How often the action was taken since it was set.
    pub fired: u64,
    /// How many threads wait there.
    pub paused: u64,
}

#[derive(Debug)]
struct State {
    hits: AtomicU64,
    armed: AtomicBool,
    plan: Mutex<Armed>,
    changed: Condvar,
}

#[derive(Debug)]
struct Armed {
    plan: Option<Plan>,
    seen: u64,
    fired: u64,
    paused: u64,
    /// Counts how often the plan was set: whoever waits goes on when it has changed.
    version: u64,
}

static STATES: [State; POINTS.len()] = [const { State::new() }; POINTS.len()];

enum Verdict {
    GoOn,
    Fail(Errno),
    LeaveOut,
}

impl State {
    const fn new() -> Self {
        let armed = Armed { plan: None, seen: 0, fired: 0, paused: 0, version: 0 };
        Self {
            hits: AtomicU64::new(0),
            armed: AtomicBool::new(false),
            plan: Mutex::new(armed),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Armed> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, plan: Option<Plan>) {
        let mut armed = self.lock();
        *armed = Armed { plan, seen: 0, fired: 0, paused: armed.paused, version: armed.version + 1 };
        self.armed.store(plan.is_some(), Ordering::Release);
        self.changed.notify_all();
    }

    /// Waits until another plan is set, or for a time.
    fn wait(&self, version: u64, time: Option<Duration>) {
        let same = |armed: &mut Armed| armed.version == version;
        let mut armed = self.lock();
        armed.paused += 1;
        let mut armed = match time {
            Some(time) => self.changed.wait_timeout_while(armed, time, same).unwrap_or_else(PoisonError::into_inner).0,
            None => self.changed.wait_while(armed, same).unwrap_or_else(PoisonError::into_inner),
        };
        armed.paused -= 1;
    }
}

fn hit(at: usize) -> Verdict {
    let state = &STATES[at];
    state.hits.fetch_add(1, Ordering::Relaxed);
    if !state.armed.load(Ordering::Acquire) {
        return Verdict::GoOn;
    }
    let (plan, version) = {
        let mut armed = state.lock();
        let Some(plan) = armed.plan else { return Verdict::GoOn };
        armed.seen += 1;
        if armed.seen <= plan.after || plan.times.is_some_and(|times| armed.fired >= times) {
            return Verdict::GoOn;
        }
        armed.fired += 1;
        (plan, armed.version)
    };
    // Those that come by often and are harmless would only fill the log.
    if !matches!(plan.action, Action::Skip | Action::Delay(_)) {
        tracing::warn!(failpoint = POINTS[at].name, action = %plan, "a failpoint fires");
    }
    match plan.action {
        Action::Abort => end_process(),
        Action::Error(errno) => return Verdict::Fail(errno),
        Action::Skip => return Verdict::LeaveOut,
        Action::Delay(time) => blocking(|| state.wait(version, Some(time))),
        Action::Pause => blocking(|| state.wait(version, None)),
    }
    Verdict::GoOn
}

/// As by kill -9: nothing is flushed, nothing unwinds, nobody is told.
fn end_process() -> ! {
    // A process may always end itself.
    let _sent = kill_process(getpid(), Signal::KILL);
    std::process::abort()
}

/// Waits without keeping the other tasks of an async thread from going on.
fn blocking(wait: impl FnOnce()) {
    use tokio::runtime::{Handle, RuntimeFlavor};
    let many_threads = Handle::try_current().is_ok_and(|h| h.runtime_flavor() == RuntimeFlavor::MultiThread);
    if many_threads { tokio::task::block_in_place(wait) } else { wait() }
}

/// What `failpoint!(NAME)` comes to.
pub fn fail(at: usize) -> io::Result<()> {
    step(at).map(drop)
}

/// What `failpoint!(NAME, step)` comes to: whether the step is to be done.
pub fn step(at: usize) -> io::Result<bool> {
    match hit(at) {
        Verdict::GoOn => Ok(true),
        Verdict::LeaveOut => Ok(false),
        Verdict::Fail(errno) => Err(errno.into()),
    }
}

/// What `failpoint!(NAME, skip)` comes to: whether the step is to be done.
pub fn skip(at: usize) -> bool {
    !matches!(hit(at), Verdict::LeaveOut)
}

/// What `failpoint!(NAME, pass)` comes to.
pub fn pass(at: usize) {
    hit(at);
}

/// Has something happen at a failpoint from now on. Its hits go on counting, what fired is counted anew.
pub fn set(name: &str, action: &str) -> Result<(), SetError> {
    let at = POINTS.iter().position(|point| point.name == name).ok_or_else(|| SetError::Unknown(name.to_owned()))?;
    let plan = Plan::parse(action).map_err(SetError::Action)?;
    let point = &POINTS[at];
    if plan.is_some_and(|plan| !plan.action.suits(point.kind)) {
        return Err(SetError::Unsuited { name: point.name, action: action.to_owned(), kind: point.kind });
    }
    STATES[at].set(plan);
    Ok(())
}

/// All failpoints off; whatever waits goes on.
pub fn clear() {
    STATES.iter().for_each(|state| state.set(None));
}

/// All failpoints, in the order of [`POINTS`].
#[must_use]
pub fn list() -> Vec<Status> {
    let status = |(state, name): (&State, &'static str)| {
        let armed = state.lock();
        Status {
            name,
            action: armed.plan.map_or_else(|| "off".to_owned(), |plan| plan.to_string()),
            hits: state.hits.load(Ordering::Relaxed),
            fired: armed.fired,
            paused: armed.paused,
        }
    };
    STATES.iter().zip(POINTS.iter().map(|point| point.name)).map(status).collect()
}

/// Sets what [`VARIABLE`] says, if it is there.
pub fn arm_from_environment() -> Result<(), SetError> {
    let Ok(text) = std::env::var(VARIABLE) else { return Ok(()) };
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let (name, action) = part
            .split_once('=')
            .ok_or_else(|| SetError::Action(format!("{VARIABLE}: {part}: NAME=ACTION is what is needed")))?;
        set(name.trim(), action)?;
    }
    Ok(())
}
