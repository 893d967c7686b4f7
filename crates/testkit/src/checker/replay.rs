//! A whole log through the reference model: every outcome compared, and what became of every grant.

use std::collections::BTreeMap;

use leasehold_reference::{Model, go_together};
use leasehold_state_machine::{
    Batch, Bounds, EventKind, FencingToken, LogTime, LossReason, Mode, Outcome, Refusal, RequestId,
};

use super::facts::lock_of;
use crate::dump::{Entry, Kind, NodeLog};

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
    pub(super) mode: Mode,
    pub(super) request: RequestId,
    /// Log index of the entry that made it.
    pub(super) index: u64,
    /// Log time at its making.
    pub(super) at: u64,
    /// None: the log ends before it does.
    pub(super) end: Option<End>,
}

/// How a grant ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) why: LossReason,
    /// Log index of the entry that ended it.
    pub(super) index: u64,
}

impl ReplayedGrant {
    pub(super) fn ended_by_command(&self) -> bool {
        self.end.is_some_and(|end| end.why != LossReason::Expired)
    }
}

impl Replay {
    /// Replays the committed entries. Stops at the first one that disagrees: what follows would only repeat it.
    pub(super) fn run(log: &NodeLog) -> Self {
        let mut model = Model::new(Bounds::default());
        let mut replay = Self::default();
        for entry in log.committed() {
            if let Err(mismatch) = replay.apply(&mut model, entry) {
                replay.mismatches.push(format!("node {}, index {}: {mismatch}", log.node, entry.index));
                break;
            }
        }
        replay
    }

    fn apply(&mut self, model: &mut Model, entry: &Entry) -> Result<(), String> {
        if entry.commands.len() != entry.outcomes.len() {
            return Err(format!("{} commands have {} outcomes", entry.commands.len(), entry.outcomes.len()));
        }
        if entry.kind == Kind::Normal {
            let batch = Batch {
                at: LogTime(entry.at.unwrap_or(0)),
                stamped_by: entry.stamped.unwrap_or_default(),
                commands: entry.commands.clone(),
            };
            let told: Vec<Outcome> = entry.outcomes.iter().map(without_text).collect();
            let effects = model.apply(entry.id(), &batch, &told);
            for event in effects.events {
                self.note(&event.namespace, entry, event.at, event.kind);
            }
            for (at, (found, expected)) in told.iter().zip(&effects.outcomes).enumerate() {
                if found != expected {
                    let operation = &entry.commands[at].operation;
                    return Err(format!("{operation:?} came to {found:?}, by the model it comes to {expected:?}"));
                }
                self.agreed += 1;
            }
        }
        match model.now() {
            LogTime(now) if now != entry.now => Err(format!("log time is {}, by the model {now}", entry.now)),
            LogTime(_) => Ok(()),
        }
    }

    fn note(&mut self, namespace: &str, entry: &Entry, at: LogTime, kind: EventKind) {
        match kind {
            EventKind::Granted { request, granted, .. } => {
                for grant in granted.grants {
                    let FencingToken(token) = grant.token;
                    let lock = lock_of(namespace, &grant.name);
                    let (index, at, mode) = (entry.index, at.0, grant.mode);
                    self.grants.insert(token, ReplayedGrant { token, lock, mode, request, index, at, end: None });
                }
            }
            EventKind::Lost { token, reason, .. } => self.end(token, reason, entry.index),
            EventKind::Converted { replaced, .. } => self.end(replaced, LossReason::Converted, entry.index),
            EventKind::Queued { .. }
            | EventKind::WaitEnded { .. }
            | EventKind::ValueSet { .. }
            | EventKind::SessionOpened { .. }
            | EventKind::LeaseEnded { .. } => {}
        }
    }

    fn end(&mut self, token: FencingToken, why: LossReason, index: u64) {
        if let Some(grant) = self.grants.get_mut(&token.0) {
            grant.end = Some(End { why, index });
        }
    }

    pub(super) fn grant(&self, token: u64) -> Option<&ReplayedGrant> {
        self.grants.get(&token)
    }

    /// Every grant that an expiry made way for: the lease that ran out, and the grant of the same entry that could not be
    /// beside it.
    pub(super) fn successions(&self) -> Vec<(&ReplayedGrant, &ReplayedGrant)> {
        let mut expired: BTreeMap<(&str, u64), Vec<&ReplayedGrant>> = BTreeMap::new();
        for grant in self.grants.values() {
            if let Some(end) = grant.end.filter(|end| end.why == LossReason::Expired) {
                expired.entry((&grant.lock, end.index)).or_default().push(grant);
            }
        }
        let before = |next: &ReplayedGrant| {
            let ended = expired.get(&(next.lock.as_str(), next.index))?;
            ended.iter().find(|grant| grant.token < next.token && !go_together(grant.mode, next.mode)).copied()
        };
        self.grants.values().filter_map(|next| Some((before(next)?, next))).collect()
    }
}

/// The texts of bad fields are for people: the model does not know them.
fn without_text(outcome: &Outcome) -> Outcome {
    match outcome {
        Outcome::Refused(Refusal::Invalid { field, .. }) => {
            Outcome::Refused(Refusal::Invalid { field: field.clone(), problem: String::new() })
        }
        other => other.clone(),
    }
}
