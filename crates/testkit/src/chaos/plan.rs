//! What is done to whom and when: all of it follows from the seed and from the cells that were not hit yet.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::coverage::{Cell, Coverage};
use super::fault::{Fault, Occupies, Role};
use super::phase::Phase;

/// One fault of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When, counted from the first grant of the run.
    pub at_ms: u64,
    /// What.
    pub fault: Fault,
    /// To whom.
    pub role: Role,
    /// It strikes when a lock comes into this phase, or a little later if none does.
    pub phase: Phase,
    /// How long it lasts.
    pub lasts_ms: u64,
    /// What else it needs to know follows from this.
    pub draw: u64,
}

/// The faults of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// In the order of their times.
    pub steps: Vec<Step>,
    /// When the last one is over and healing begins.
    pub lasts_ms: u64,
    /// The cluster begins at the first format level.
    pub first_level: bool,
    /// Snapshots are taken often and the log behind them is thrown away, so that nodes are brought up by snapshots.
    pub small_logs: bool,
}

/// From one fault to the next while they come alone.
const BREATH_MS: u64 = 700;
/// Faults that overlap begin this long after one another.
const OVERLAP_MS: (u64, u64) = (250, 1_500);
/// Of all runs without demands, one in so many throws its logs away.
const SMALL_LOGS_ONE_IN: u32 = 5;
/// Share of a run in which faults come alone; then they overlap.
const ALONE: f64 = 0.5;

impl Plan {
    /// No fault at all, for so long.
    #[must_use]
    pub fn nothing(lasts: Duration) -> Self {
        let lasts_ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        Self { steps: Vec::new(), lasts_ms, first_level: false, small_logs: false }
    }

    /// Draws the faults among those that `can` be brought, for so long.
    #[must_use]
    pub fn draw(seed: u64, lasts: Duration, coverage: &Coverage, can: impl Fn(Fault) -> bool) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let lasts_ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        let mut drawn = coverage.clone();
        let mut plan = Self {
            steps: Vec::new(),
            lasts_ms,
            first_level: false,
            small_logs: random.random_ratio(1, SMALL_LOGS_ONE_IN),
        };
        let mut at_ms = 300;
        while at_ms + BREATH_MS < lasts_ms {
            let left_ms = lasts_ms - at_ms;
            let fits = |fault| can(fault) && duration_ms(fault).0 <= left_ms && may_follow(&plan, fault);
            let Some(cell) = only_now(&mut random, &drawn, &plan, &fits).or_else(|| choose(&mut random, &drawn, fits))
            else {
                break;
            };
            let (shortest, longest) = duration_ms(cell.fault);
            let step = Step {
                at_ms,
                fault: cell.fault,
                role: cell.role,
                phase: cell.phase,
                lasts_ms: random.random_range(shortest..=longest.min(left_ms.max(shortest))),
                draw: random.random(),
            };
            plan.first_level |= step.fault == Fault::LevelRaise;
            // What is aimed at is most likely hit, and so is much of the rest of its row.
            for phase in Phase::ALL {
                if phase == cell.phase || !cell.fault.is_instant() {
                    drawn.hit(Cell { phase, ..cell });
                }
            }
            let alone = (at_ms as f64) < lasts_ms as f64 * ALONE || step.fault.occupies() == Occupies::Everything;
            at_ms += if alone { step.lasts_ms + BREATH_MS } else { random.random_range(OVERLAP_MS.0..=OVERLAP_MS.1) };
            plan.steps.push(step);
        }
        plan
    }
}

/// A level can be raised once, and before that the workload can do little: so that comes first or not at all.
fn may_follow(plan: &Plan, fault: Fault) -> bool {
    fault != Fault::LevelRaise || plan.steps.is_empty()
}

/// What can come first only would hardly ever come: every other run begins with it while it was never hit.
fn only_now(random: &mut StdRng, drawn: &Coverage, plan: &Plan, can: &impl Fn(Fault) -> bool) -> Option<Cell> {
    if !plan.steps.is_empty() || random.random() {
        return None;
    }
    let missing = drawn.missing(|fault| fault == Fault::LevelRaise && can(fault));
    missing.choose(random).copied()
}

/// Among the cells that were hit least often.
fn choose(random: &mut StdRng, drawn: &Coverage, can: impl Fn(Fault) -> bool) -> Option<Cell> {
    let cells: Vec<Cell> = Coverage::cells().filter(|cell| can(cell.fault)).collect();
    let least = cells.iter().map(|cell| drawn.hits(*cell)).min()?;
    let candidates: Vec<Cell> = cells.into_iter().filter(|cell| drawn.hits(*cell) == least).collect();
    candidates.choose(random).copied()
}

/// Shortest and longest time that a fault lasts, in ms: wide enough to matter, short enough for many of them.
fn duration_ms(fault: Fault) -> (u64, u64) {
    match fault {
        Fault::PauseShort => (200, 800),
        Fault::PauseLong => (2_400, 3_200),
        Fault::Kill | Fault::PowerCut | Fault::Swapped => (500, 1_500),
        Fault::KillInRecovery | Fault::MonotonicOffset => (600, 1_500),
        Fault::Wiped | Fault::Damaged => (1_000, 2_000),
        Fault::RollingRestart => (2_500, 4_000),
        Fault::LevelRaise => (3_000, 4_500),
        Fault::DiskFull | Fault::FsyncFails => (800, 1_500),
        _ => (800, 2_500),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_secs(12);

    #[test]
    fn a_plan_follows_from_its_seed() {
        let coverage = Coverage::default();
        let plan = |seed| Plan::draw(seed, SHORT, &coverage, |_| true);
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
    }

    #[test]
    fn plans_go_for_what_was_not_hit() {
        let mut coverage = Coverage::default();
        for cell in Coverage::cells().filter(|cell| cell.fault != Fault::Bridge) {
            coverage.hit(cell);
        }
        let plan = Plan::draw(1, SHORT, &coverage, |_| true);
        assert_eq!(plan.steps[0].fault, Fault::Bridge);
    }

    #[test]
    fn what_cannot_be_brought_is_not_planned() {
        let plan = Plan::draw(3, Duration::from_secs(600), &Coverage::default(), |fault| fault.needs().is_empty());
        assert!(plan.steps.len() > 100 && plan.steps.iter().all(|step| step.fault.needs().is_empty()));
    }

    #[test]
    fn faults_come_alone_first_and_overlap_later() {
        let plan = Plan::draw(5, Duration::from_secs(120), &Coverage::default(), |_| true);
        let overlaps = |pair: &[Step]| pair[0].at_ms + pair[0].lasts_ms > pair[1].at_ms;
        let half = plan.steps.partition_point(|step| step.at_ms < 60_000);
        assert!(!plan.steps[..half].windows(2).any(overlaps));
        assert!(plan.steps[half..].windows(2).filter(|pair| overlaps(pair)).count() > 5);
    }
}
