//! A small reference model of the lock table, written from DESIGN.md and independent of the state machine crate: a whole
//! log is replayed through it, and every outcome compared.
//!
//! What it does not model it takes from the log where that is plausible: refusals for limits and malformed input, and
//! the bound on expiries in one entry. It never forgets a request id, so it also notices one that was forgotten too early.

mod commands;
mod tables;

use std::collections::BTreeMap;

use leasehold_state_machine::RequestId;

use crate::dump::{Entry, Kind, NodeLog};
use tables::Tables;

/// A whole log, replayed.
#[derive(Default)]
pub(super) struct Replay {
    /// Outcomes that the model would not have given, each with its index.
    pub(super) mismatches: Vec<String>,
    /// Outcomes on which model and log agree.
    pub(super) agreed: usize,
    /// Every grant ever made, by token.
    pub(super) grants: BTreeMap<u64, ReplayedGrant>,
}

/// One grant, from its making to its end.
#[derive(Debug, Clone)]
pub(super) struct ReplayedGrant {
    pub(super) token: u64,
    pub(super) lock: String,
    pub(super) request: RequestId,
    /// Log index of the entry that made it.
    pub(super) index: u64,
    /// None: the log ends before it does.
    pub(super) end: Option<End>,
}

/// How a grant ended.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) why: Why,
}

/// What ended a grant or a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Released,
    Expired,
    Cancelled,
    LeaseClosed,
}

impl ReplayedGrant {
    pub(super) fn ended_by_command(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.why != Why::Expired)
    }
}

impl Replay {
    /// Replays the committed entries. Stops at the first one that disagrees: what follows would only repeat it.
    pub(super) fn run(log: &NodeLog) -> Self {
        let mut tables = Tables::default();
        let mut replay = Self::default();
        for entry in log.committed() {
            if let Err(mismatch) = replay.apply(&mut tables, entry) {
                replay.mismatches.push(format!("node {}, index {}: {mismatch}", log.node, entry.index));
                break;
            }
        }
        replay.grants = tables.into_grants();
        replay
    }

    fn apply(&mut self, tables: &mut Tables, entry: &Entry) -> Result<(), String> {
        tables.begin(entry.index);
        if entry.kind == Kind::Normal {
            let genuine = entry.stamped.is_some_and(|stamp| (stamp.term, stamp.node) == (entry.term, entry.leader));
            tables.advance(if genuine { entry.at.unwrap_or(0) } else { 0 });
        }
        if tables.now != entry.now {
            return Err(format!("log time is {}, by the model {}", entry.now, tables.now));
        }
        if entry.commands.len() != entry.outcomes.len() {
            return Err(format!("{} commands have {} outcomes", entry.commands.len(), entry.outcomes.len()));
        }
        for (command, outcome) in entry.commands.iter().zip(&entry.outcomes) {
            tables.run(command, outcome)?;
            self.agreed += 1;
        }
        Ok(())
    }

    pub(super) fn grant(&self, token: u64) -> Option<&ReplayedGrant> {
        self.grants.get(&token)
    }

    /// Each grant and the next one of the same lock.
    pub(super) fn successions(&self) -> Vec<(&ReplayedGrant, &ReplayedGrant)> {
        let mut last: BTreeMap<&str, &ReplayedGrant> = BTreeMap::new();
        let mut successions = Vec::new();
        for grant in self.grants.values() {
            if let Some(before) = last.insert(&grant.lock, grant) {
                successions.push((before, grant));
            }
        }
        successions
    }
}
