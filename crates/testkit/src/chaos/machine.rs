//! How much of the machine others take from a run. Patience with a cluster is counted in what the run was given: on a machine that
//! is busy with something else, what takes long is not the cluster's fault. What its own processes burn is no excuse.

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::clock::Moment;
use crate::numbers::Numbers;
use crate::processors::Ticks;

/// A thread that sleeps so long shows by how much it wakes up late.
const NAP: Duration = Duration::from_millis(10);
/// Between two looks at what all processes have used.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// However much others take, so much of the time that passes counts: patience lasts at most ten times as long.
const COUNTS_MIN: f64 = 0.1;

/// Watches the machine. The kernel's own threads count as others. Cheap to clone; the last clone that is dropped ends it.
#[derive(Debug, Clone)]
pub struct Machine(Arc<Watching>);

#[derive(Debug)]
struct Watching {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Seen {
    since: Moment,
    /// Of all that passed, what others took.
    taken: Duration,
    late: Vec<Duration>,
}

/// How a run was held up by others, for its report.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Lag {
    /// Share of the machine that others took, in percent.
    pub taken_percent: f64,
    /// How late a thread of the driver woke up from a short sleep, in ms.
    pub late_p50_ms: f64,
    /// The same.
    pub late_p99_ms: f64,
    /// The same.
    pub late_max_ms: f64,
}

impl Machine {
    /// Begins.
    pub fn watch() -> Result<Self> {
        let seen = Arc::new(Mutex::new(Seen { since: Moment::now(), ..Seen::default() }));
        let stop = Arc::<AtomicBool>::default();
        let watching = Watching { seen: seen.clone(), stop: stop.clone() };
        std::thread::Builder::new().name("machine".into()).spawn(move || look(&seen, &stop))?;
        Ok(Self(Arc::new(watching)))
    }

    /// Patience that begins now and lasts for so long of what the run is given.
    #[must_use]
    pub fn patience(&self, lasts: Duration) -> Patience {
        Patience { machine: self.clone(), since: Moment::now(), taken: self.taken(), lasts }
    }

    /// How it was so far.
    #[must_use]
    pub fn lag(&self) -> Lag {
        let seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let late = Numbers::new(seen.late.clone());
        Lag {
            taken_percent: 100.0 * seen.taken.as_secs_f64() / seen.since.elapsed().as_secs_f64().max(1e-9),
            late_p50_ms: late.at(50),
            late_p99_ms: late.at(99),
            late_max_ms: late.at(100),
        }
    }

    /// By how much longer than on a machine of its own a run has to be waited for, from 1 to 10: over all of it.
    #[must_use]
    pub fn stretch(&self) -> f64 {
        1.0 / (1.0 - self.lag().taken_percent / 100.0).max(COUNTS_MIN)
    }

    fn taken(&self) -> Duration {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).taken
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// How long something may take.
#[derive(Debug)]
pub struct Patience {
    machine: Machine,
    since: Moment,
    taken: Duration,
    lasts: Duration,
}

impl Patience {
    /// Since when it lasts.
    #[must_use]
    pub fn since(&self) -> Moment {
        self.since
    }

    /// How long it lasts, with what others took since it began.
    #[must_use]
    pub fn allowed(&self) -> Duration {
        self.lasts + (self.machine.taken() - self.taken)
    }

    /// Whether it is at an end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.since.elapsed() > self.allowed()
    }
}

fn look(seen: &Mutex<Seen>, stop: &AtomicBool) {
    let mut before = (Moment::now(), Used::read().ok());
    while !stop.load(Ordering::Relaxed) {
        let asleep = Moment::now();
        std::thread::sleep(NAP);
        let late = asleep.elapsed().saturating_sub(NAP);
        let mut taken = Duration::ZERO;
        if before.0.elapsed() >= LOOK_EVERY {
            let now = (Moment::now(), Used::read().ok());
            if let (Some(then), Some(now_used)) = (before.1, now.1) {
                taken = now.0.since(before.0).mul_f64(now_used.others_since(then).min(1.0 - COUNTS_MIN));
            }
            before = now;
        }
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.late.push(late);
        seen.taken += taken;
    }
}

/// Time of all processors so far, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Used {
    /// Idle or not.
    all: u64,
    busy: u64,
    /// By this process and all that come from it.
    own: u64,
}

impl Used {
    fn read() -> Result<Self> {
        let Ticks { all, busy } = Ticks::now()?;
        let mut processes = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let path = entry?.path();
            let is_process = path.file_name().is_some_and(|name| name.as_encoded_bytes()[0].is_ascii_digit());
            // One that ends meanwhile is its parent's.
            if let Some(process) = is_process.then(|| fs::read_to_string(path.join("stat")).ok()).flatten() {
                processes.extend(Process::parse(&process).map(|process| (process.id, process)));
            }
        }
        Ok(Self { all, busy, own: own(&processes, std::process::id()) })
    }

    /// The share of the machine that others took.
    fn others_since(self, then: Self) -> f64 {
        let all = self.all.saturating_sub(then.all).max(1);
        let others = self.busy.saturating_sub(then.busy).saturating_sub(self.own.saturating_sub(then.own));
        others as f64 / all as f64
    }
}

#[derive(Debug)]
struct Process {
    id: u32,
    parent: u32,
    /// By it and its children that have ended.
    ticks: u64,
}

impl Process {
    fn parse(stat: &str) -> Option<Self> {
        let id = stat.split(' ').next()?.parse().ok()?;
        // The name in parentheses may hold anything.
        let rest: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = rest.get(11..15)?.iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Some(Self { id, parent: rest.get(1)?.parse().ok()?, ticks })
    }
}

fn own(processes: &HashMap<u32, Process>, root: u32) -> u64 {
    let is_own = |process: &Process| {
        let mut at = process.id;
        while at != root {
            match processes.get(&at) {
                Some(process) if process.parent != at && process.parent != 0 => at = process.parent,
                _ => return false,
            }
        }
        true
    };
    processes.values().filter(|process| is_own(process)).map(|process| process.ticks).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_use_is_told_from_what_is_ones_own() {
        let then = Used { all: 100, busy: 50, own: 10 };
        let now = Used { all: 200, busy: 130, own: 30 };
        assert!((now.others_since(then) - 0.6).abs() < 1e-9);
        let alone = Used { all: 200, busy: 150, own: 110 };
        assert!(alone.others_since(then).abs() < 1e-9, "what one burns oneself is no excuse");
    }

    #[test]
    fn children_of_children_are_ones_own() {
        let stat = |id, parent, ticks| format!("{id} (a (b) c) S {parent} 1 1 0 -1 0 0 0 0 0 {ticks} 1 1 0 20 0 1 0 5");
        let lines = [stat(1, 0, 100), stat(7, 1, 10), stat(8, 7, 20), stat(9, 8, 30), stat(10, 1, 40)];
        let processes: HashMap<u32, Process> =
            lines.iter().filter_map(|line| Process::parse(line)).map(|process| (process.id, process)).collect();
        assert_eq!(own(&processes, 7), 66);
    }

    #[test]
    fn patience_lasts_longer_by_what_others_took() {
        let seen = Arc::new(Mutex::new(Seen { since: Moment::now(), ..Seen::default() }));
        let machine = Machine(Arc::new(Watching { seen: seen.clone(), stop: Arc::default() }));
        let patience = machine.patience(Duration::ZERO);
        seen.lock().unwrap().taken += Duration::from_secs(3_600);
        assert!(!patience.is_over() && patience.allowed() == Duration::from_secs(3_600));
        let next = machine.patience(Duration::ZERO);
        assert_eq!(next.allowed(), Duration::ZERO, "what was taken before is not counted");
    }

    #[test]
    fn this_machine_can_be_read() {
        let used = Used::read().unwrap();
        assert!(used.all >= used.busy && used.busy >= used.own, "{used:?}");
    }
}
