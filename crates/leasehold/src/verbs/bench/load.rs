//! One run against a cluster of Leasehold: opens the connections, seats the callers, and lets them go through the phases.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use leasehold_client::TTL_DEFAULT;
use leasehold_client::clock::{Clock, Moment};
use leasehold_platform::random;
use rand::Rng;
use tokio::task::JoinSet;

use super::caller::{Caller, Phase, WAIT_MS};
use super::cpu;
use super::expirer::Expirer;
use super::holder::Holder;
use super::keeper::{KEEPERS_MAX, Keeper};
use super::lane::Lane;
use super::record::Record;
use super::schedule::{Schedule, Stop};
use super::session_batch::{SessionBatch, SessionPlan, batch_size};
use super::worker::{Common, Contended, Habit, Worker};
use crate::exit::{Exit, Failure};

/// How long preparing, and cleaning up, may take without locks that are held beside the load.
const PHASE_MAX: Duration = Duration::from_secs(120);
/// More of it for every so many locks that are held beside the load.
const HELD_PER_SECOND: usize = 1_000;
/// Beyond the longest wait, for what is under way at the end of the load.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Beyond the run itself, before a session that nobody renews ends.
const SESSION_SPARE: Duration = Duration::from_secs(300);

/// What is done, with what only this workload needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Workload {
    Uncontended,
    Contended { locks: usize },
    TryBusy { locks: usize },
    Mixed { locks: usize },
    Sessions { sessions: usize, every: Duration },
    Expiry { background: usize },
}

impl Workload {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Uncontended => "uncontended",
            Self::Contended { .. } => "contended",
            Self::TryBusy { .. } => "try-busy",
            Self::Mixed { .. } => "mixed",
            Self::Sessions { .. } => "sessions",
            Self::Expiry { .. } => "expiry",
        }
    }

    /// What its throughput counts.
    pub(super) const fn unit(&self) -> &'static str {
        match self {
            Self::Uncontended => "cycles",
            Self::Contended { .. } => "handovers",
            Self::TryBusy { .. } => "tries",
            Self::Mixed { .. } => "actions",
            Self::Sessions { .. } => "renewals",
            Self::Expiry { .. } => "expiries",
        }
    }
}

/// All that a run needs to know.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) workload: Workload,
    pub(super) callers: usize,
    /// Locks that are held all the time beside the load.
    pub(super) held: usize,
    /// When these run out, counted from the beginning of the run.
    pub(super) held_for: Option<Duration>,
    pub(super) connections: usize,
    pub(super) addresses: Vec<String>,
    pub(super) unary: bool,
    pub(super) namespace: String,
    pub(super) ttl: Duration,
    pub(super) warm_up: Duration,
    pub(super) length: Duration,
    /// How long opening a connection may take.
    pub(super) bound: Duration,
    /// The leader's process, where it is known: its CPU time is measured.
    pub(super) leader_pid: Option<u32>,
}

/// What came of a run.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) record: Record,
    /// Of one core, in the measured time; over 100 with several.
    pub(super) leader_cpu_percent: Option<f64>,
}

/// Runs it to its end. What was prepared is cleaned up in any case.
pub(super) async fn run(plan: &Plan, stop: &Stop) -> Result<Outcome, Failure> {
    let clock = Clock::system();
    let mut lanes = open(plan).await.map_err(unavailable)?;
    seat(plan, &clock, &mut lanes);
    let prepared = Schedule::begin(&clock, Duration::ZERO, Duration::ZERO, stop);
    let phase_max = PHASE_MAX + held_max(plan);
    let soon = |clock: &Clock| clock.now().after(phase_max);
    let mut ended = through(&mut lanes, Phase::Prepare, &prepared, soon(&clock), plan.unary).await;
    let mut leader_cpu_percent = None;
    if ended.is_ok() {
        let schedule = Schedule::begin(&clock, plan.warm_up, plan.length, stop);
        lanes.iter_mut().for_each(|lane| lane.record.open(schedule.window));
        let longest = Duration::from_millis(WAIT_MS).max(plan.ttl.min(Duration::from_secs(60)));
        let deadline = schedule.window.until.after(longest + DRAIN_MAX);
        let running = through(&mut lanes, Phase::Run, &schedule, deadline, plan.unary);
        (ended, leader_cpu_percent) = tokio::join!(running, cpu::share(plan.leader_pid, &schedule));
    }
    let cleaned = through(&mut lanes, Phase::CleanUp, &prepared, soon(&clock), plan.unary).await;
    let mut record = Record::default();
    lanes.iter().for_each(|lane| record.merge(&lane.record));
    ended.and(cleaned).map_err(|problem| unavailable(with_errors(&problem, &record)))?;
    Ok(Outcome { record, leader_cpu_percent })
}

/// How long taking, or giving back, the locks that are held beside the load may take.
fn held_max(plan: &Plan) -> Duration {
    Duration::from_secs((plan.held / HELD_PER_SECOND) as u64)
}

fn unavailable(problem: String) -> Failure {
    Failure::new(Exit::Unavailable, format!("unavailable: {problem}"))
}

fn with_errors(problem: &str, record: &Record) -> String {
    let errors: Vec<String> = record.errors().iter().map(|(what, count)| format!("{what} {count} times")).collect();
    if errors.is_empty() { problem.to_owned() } else { format!("{problem} (errors: {})", errors.join(", ")) }
}

async fn open(plan: &Plan) -> Result<Vec<Lane>, String> {
    let mut opening = JoinSet::new();
    for number in 0..plan.connections {
        let (addresses, unary, bound) = (plan.addresses.clone(), plan.unary, plan.bound);
        opening.spawn(async move { (number, Lane::open(&addresses, number, unary, bound).await) });
    }
    let mut lanes = Vec::with_capacity(plan.connections);
    while let Some(opened) = opening.join_next().await {
        let (number, lane) = opened.map_err(|error| error.to_string())?;
        lanes.push((number, lane?));
    }
    lanes.sort_unstable_by_key(|(number, _)| *number);
    Ok(lanes.into_iter().map(|(_, lane)| lane).collect())
}

/// Spreads the callers of the workload over the lanes.
fn seat(plan: &Plan, clock: &Clock, lanes: &mut [Lane]) {
    let callers = callers(plan, clock.now());
    let count = lanes.len();
    for (number, caller) in callers.into_iter().enumerate() {
        lanes[number % count].callers.push(caller);
    }
}

fn callers(plan: &Plan, now: Moment) -> Vec<Box<dyn Caller>> {
    let prefix = format!("bench-{:08x}-", random::rng().random_range(0..=u32::MAX));
    let names = |kind: &str, count: usize| -> Vec<String> {
        (0..count).map(|number| format!("{prefix}{kind}-{number}")).collect()
    };
    let (contended, busy) = match plan.workload {
        Workload::Contended { locks } => (names("contended", locks), Vec::new()),
        Workload::TryBusy { locks } => (Vec::new(), names("busy", locks)),
        Workload::Mixed { locks } => (names("contended", locks), names("busy", locks)),
        _ => (Vec::new(), Vec::new()),
    };
    let common = Arc::new(Common {
        namespace: plan.namespace.clone(),
        ttl_ms: millis(if let Workload::Expiry { .. } = plan.workload { TTL_DEFAULT } else { plan.ttl }),
        session_ttl_ms: millis(held_max(plan) + plan.warm_up + plan.length + SESSION_SPARE),
        contended: contended.into_iter().map(Contended::new).collect(),
        busy,
        origin: now,
        prefix: prefix.clone(),
    });
    let workers = |habit: Habit, count: usize| {
        let common = Arc::clone(&common);
        (0..count).map(move |number| Box::new(Worker::new(&common, habit, number)) as Box<dyn Caller>)
    };
    let holder = || std::iter::once(Box::new(Holder::new(&common)) as Box<dyn Caller>);
    let mut callers: Vec<_> = match plan.workload {
        Workload::Uncontended => workers(Habit::Own, plan.callers).collect(),
        Workload::Contended { .. } => workers(Habit::Contended, plan.callers).collect(),
        Workload::TryBusy { .. } => holder().chain(workers(Habit::Busy, plan.callers)).collect(),
        Workload::Mixed { .. } => holder().chain(workers(Habit::Mixed, plan.callers)).collect(),
        Workload::Expiry { background } => {
            let expirers = (0..plan.callers)
                .map(|number| Box::new(Expirer::new(&common, number, millis(plan.ttl))) as Box<dyn Caller>);
            expirers.chain(workers(Habit::Background, background)).collect()
        }
        Workload::Sessions { sessions, every } => session_batches(plan, sessions, every),
    };
    let keepers = plan.held.min(KEEPERS_MAX);
    let until = plan.held_for.map(|span| now.after(span));
    let share = |number: usize| plan.held / keepers + usize::from(number < plan.held % keepers);
    callers.extend(
        (0..keepers).map(|number| Box::new(Keeper::new(&common, number, share(number), until)) as Box<dyn Caller>),
    );
    callers
}

fn session_batches(plan: &Plan, sessions: usize, every: Duration) -> Vec<Box<dyn Caller>> {
    let size = batch_size(sessions, plan.connections);
    let batches = sessions.div_ceil(size);
    let shared = Arc::new(SessionPlan {
        namespace: plan.namespace.clone(),
        ttl_ms: millis(plan.ttl),
        every,
        batches,
        opened: AtomicUsize::new(0),
    });
    let batch = |number: usize| {
        let count = size.min(sessions - number * size);
        Box::new(SessionBatch::new(&shared, number, count)) as Box<dyn Caller>
    };
    (0..batches).map(batch).collect()
}

/// Lets all lanes go through a phase, each in a task of its own.
async fn through(
    lanes: &mut Vec<Lane>,
    phase: Phase,
    schedule: &Schedule,
    deadline: Moment,
    unary: bool,
) -> Result<(), String> {
    let mut tasks = JoinSet::new();
    for (number, mut lane) in std::mem::take(lanes).into_iter().enumerate() {
        let schedule = schedule.clone();
        tasks.spawn(async move {
            let ended = match unary {
                true => lane.drive_unary(phase, &schedule, deadline).await,
                false => lane.drive(phase, &schedule, deadline).await,
            };
            (number, lane, ended)
        });
    }
    let mut ended = Ok(());
    let mut back = Vec::with_capacity(tasks.len());
    while let Some(task) = tasks.join_next().await {
        match task {
            Ok((number, lane, result)) => {
                back.push((number, lane));
                ended = ended.and(result);
            }
            Err(error) => ended = Err(format!("a connection's task ended: {error}")),
        }
    }
    back.sort_unstable_by_key(|(number, _)| *number);
    lanes.extend(back.into_iter().map(|(_, lane)| lane));
    ended
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
