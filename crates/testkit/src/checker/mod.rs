//! One checker for every run: histories and logs against the invariants of TESTING.md.
//!
//! Each invariant is one file with its own tests, among them a planted violation. What C10 (a guarded resource) and C13
//! (progress) need is not in histories and logs: [`check_guarded`] and [`check_progress`] hold it against them, in the same report.

mod c01_same_log;
mod c02_tokens;
mod c03_grants;
mod c03_refusals;
mod c04_never_early;
mod c05_not_late;
mod c06_nothing_lost;
mod c07_once;
mod c08_fifo;
mod c09_authority;
mod c10_guarded;
mod c11_log_time;
mod c12_reads;
mod c13_progress;
mod facts;
#[cfg(test)]
mod fixture;
mod linearizable;
mod replay;
mod report;

pub use c10_guarded::{Access, Resource, check as check_guarded};
pub use c13_progress::{Ending, NodeEnd, check as check_progress};
pub use report::{Invariant, Report, Violation};

use facts::Facts;

use crate::dump::NodeLog;
use crate::history::History;

/// What a run left behind.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// What the clients saw.
    pub history: History,
    /// What the nodes' logs say.
    pub nodes: Vec<NodeLog>,
    /// Bounds that the run was configured with.
    pub bounds: Bounds,
}

/// Bounds of the product that the checks count with.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// The most that one entry may move log time, in ms.
    pub step_ms_max: u64,
    /// Time between two ticks while something is pending, in ms: what a leader change may add to a lease.
    pub tick_ms: u64,
    /// Bound on clock drift, in parts per million.
    pub drift_max_ppm: u64,
    /// What a busy machine may add to an answer before it counts as late, in ms.
    pub late_slack_ms: u64,
    /// What rounding to whole milliseconds may make of log time, in ms.
    pub rounding_ms: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { step_ms_max: 1_000, tick_ms: 250, drift_max_ppm: 1_000, late_slack_ms: 1_500, rounding_ms: 1 }
    }
}

/// Checks everything that the evidence allows to check.
#[must_use]
pub fn check(evidence: &Evidence) -> Report {
    let facts = Facts::gather(evidence);
    let mut report = Report::default();
    c01_same_log::check(&facts, &mut report);
    c02_tokens::check(&facts, &mut report);
    c03_grants::check(&facts, &mut report);
    c03_refusals::check(&facts, &mut report);
    c04_never_early::check(&facts, &mut report);
    c05_not_late::check(&facts, &mut report);
    c06_nothing_lost::check(&facts, &mut report);
    c07_once::check(&facts, &mut report);
    c08_fifo::check(&facts, &mut report);
    c09_authority::check(&facts, &mut report);
    c11_log_time::check(&facts, &mut report);
    c12_reads::check(&facts, &mut report);
    linearizable::check(&facts, &mut report);
    report
}
