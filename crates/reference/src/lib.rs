//! The reference model: the whole lock model a second time, written from its description and sharing no logic with the
//! state machine, only the types of commands and answers.
//!
//! The property tests run random logs through both. The checker replays the logs of real clusters through the model
//! (invariant C1). Where the description leaves a choice open (which of several cycles a refusal names), the model takes
//! the choice of the log it is held against, once it has made sure that it is a right one.
//!
//! Everything lies in ordered maps and is searched in the plainest way that does not make a replay quadratic. Modules
//! follow the life of a request: `acquire` and its checks, `queue`, `deadlock`, `endings`; the rest is one module a command.

mod acquire;
mod cancel;
mod check;
mod deadlock;
mod endings;
mod expiry;
mod losses;
mod queue;
mod renew;
mod requests;
mod rows;
mod sessions;
mod settings;
mod tables;
mod tokens;
mod views;

pub use queue::go_together;

use leasehold_state_machine::{
    Batch, Bounds, Command, EntryId, Event, EventKind, LEVEL_FIRST, LeaseRequest, Limits, LogTime, Mode, Operation,
    Outcome, Refusal, Revision,
};

use std::collections::BTreeMap;
use tables::Tables;

/// What an entry came to, by the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effects {
    /// One for each command. The texts of [`Refusal::Invalid`] are empty: they are for people.
    pub outcomes: Vec<Outcome>,
    /// In apply order.
    pub events: Vec<Event>,
}

/// The lock model.
#[derive(Debug, Clone)]
pub struct Model {
    bounds: Bounds,
    now: u64,
    founded: bool,
    index: u64,
    level: u32,
    next_token: u64,
    next_lease: u64,
    limits: Limits,
    own_limits: BTreeMap<String, Limits>,
    tables: Tables,
    /// Events of the entry that is being applied.
    events: Vec<Event>,
    /// What the log says that the command came to which is being run.
    told: Option<Outcome>,
}

impl Model {
    /// Nothing founded. The capacities must be those of the machine that it is compared with.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            now: 0,
            founded: false,
            index: 0,
            level: LEVEL_FIRST,
            next_token: 0,
            next_lease: 0,
            limits: Limits::default(),
            own_limits: BTreeMap::new(),
            tables: Tables::default(),
            events: Vec::new(),
            told: None,
        }
    }

    /// Applies an ordinary entry. `told`: the outcomes that it is going to be compared with, for the choices that the
    /// model leaves open.
    pub fn apply(&mut self, entry: EntryId, batch: &Batch, told: &[Outcome]) -> Effects {
        self.index = entry.index;
        if batch.stamped_by == entry.leader {
            self.now = self.now.max(batch.at.0);
        }
        self.expire(batch.commands.len());
        self.hand_over();
        let mut outcomes = Vec::new();
        for (at, command) in batch.commands.iter().enumerate() {
            self.told = told.get(at).cloned();
            outcomes.push(self.run(command));
            self.hand_over();
        }
        Effects { outcomes, events: std::mem::take(&mut self.events) }
    }

    fn run(&mut self, command: &Command) -> Outcome {
        let operation = &command.operation;
        if !self.founded && !matches!(operation, Operation::Found(_)) {
            return Outcome::Refused(Refusal::NotFounded);
        }
        if let Some(not_after) = command.not_after.filter(|not_after| self.now > not_after.0) {
            return Outcome::Refused(Refusal::TooLate { not_after, now: LogTime(self.now) });
        }
        let needed = level_of(operation);
        if self.founded && needed > self.level {
            return Outcome::Refused(Refusal::Level { needed, level: self.level });
        }
        match operation {
            Operation::Found(found) => self.found(found),
            Operation::Acquire(acquire) => self.acquire(acquire),
            Operation::CancelAcquire(cancel) => self.cancel(*cancel),
            Operation::Release(release) => self.release(release),
            Operation::Renew(renew) => self.renew(renew),
            Operation::CloseLease(close) => self.close(close.lease),
            Operation::Tick => Outcome::Done,
            Operation::SetLimits(set) => self.set_limits(set),
            Operation::SetLevel(set) => self.set_level(set.level),
            Operation::OpenSession(open) => self.open_session(open),
            Operation::SetValue(set) => self.set_value(set),
            Operation::ForceRelease(force) => self.force_release(force),
        }
    }

    fn emit(&mut self, namespace: &str, kind: EventKind) {
        let revision = Revision { index: self.index, ordinal: self.events.len() as u32 };
        self.events.push(Event { revision, at: LogTime(self.now), namespace: namespace.into(), kind });
    }
}

/// Level 1 knows exclusive locks under leases of their own, one token a release, renewals that never shorten.
fn level_of(operation: &Operation) -> u32 {
    let whole_model = match operation {
        Operation::Acquire(acquire) => {
            !matches!(acquire.lease, LeaseRequest::Own { .. })
                || acquire.locks.iter().any(|lock| lock.mode != Mode::Exclusive)
                || acquire.actor.is_some()
                || acquire.lock_delay_ms > 0
                || !acquire.value.is_empty()
        }
        Operation::Release(release) => release.all_or_nothing || release.locks.len() != 1,
        Operation::Renew(renew) => renew.all_or_nothing || renew.leases.iter().any(|one| one.exact.is_some()),
        Operation::OpenSession(_) | Operation::SetValue(_) | Operation::ForceRelease(_) => true,
        Operation::Found(_)
        | Operation::CancelAcquire(_)
        | Operation::CloseLease(_)
        | Operation::Tick
        | Operation::SetLimits(_)
        | Operation::SetLevel(_) => false,
    };
    if whole_model { 2 } else { 1 }
}

fn invalid(field: impl Into<String>) -> Outcome {
    Outcome::Refused(Refusal::Invalid { field: field.into(), problem: String::new() })
}

fn limit_reached(limit: &str, max: u64) -> Outcome {
    Outcome::Refused(Refusal::LimitReached { limit: limit.to_owned(), max })
}
