//! The real machine as a part of a state: its rows, and a picture of what they say.
//!
//! A state keeps the rows, and every step builds the machine from them, applies one entry and takes the rows again. So
//! every reachable state is also written and restored once, as a snapshot would.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock};

use leasehold_state_machine::{
    Batch, ClusterId, Command, Effects, EntryId, EventKind, Found, HEADER_KEY, LEVEL_MAX, LeaderStamp, LogTime,
    Operation, StateMachine,
};

use super::essence::{TwoHashes, essence};
use super::liveness;
use super::message::{self, Message};
use super::picture::{Picture, picture};
use super::planted::Planted;
use super::run::{Run, locked};
use super::world::World;

/// The namespace of all locks.
pub(super) const NAMESPACE: &str = "model";
/// Log time of the first step. So great that its encoded form is recognised in the bytes of a row.
pub(super) const EPOCH_MS: u64 = 0x5a5b_0000;
const COUNTER_START: u64 = 1_000;
const LEADER: LeaderStamp = LeaderStamp { term: 1, node: 1 };

/// Log time at a step.
pub(super) fn log_time(world: &World, step: u8) -> LogTime {
    LogTime(EPOCH_MS + world.ms(step))
}

/// The rows of a machine, with what was read from it.
#[derive(Debug)]
pub(super) struct Tables {
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// The step that log time is at.
    step: u8,
    /// The last token and the last lease that were made.
    last_made: (u64, u128),
    /// Hash of all rows, of the step and of the last token and lease. The header is left out, which has the number of the
    /// last entry in it; its other counters are greater than all that the rows have of them, and nobody else knows them.
    pub(super) identity: u128,
    /// Hash of what decides how it goes on.
    essence: u128,
    /// What readers see.
    pub(super) picture: Picture,
    /// What entries were found to do to it.
    after: Mutex<After>,
    /// What was found to be left of it after a long time with nothing arriving.
    stuck: OnceLock<Option<String>>,
}

/// By the message of an entry, and by the steps of time that it brings.
type After = HashMap<(Option<Message>, u8), Arc<Applied>>;

/// What one entry does to a machine; an error is the text of a panic.
pub(super) type Applied = Result<(Arc<Tables>, Effects), String>;

impl PartialEq for Tables {
    fn eq(&self, other: &Self) -> bool {
        self.essence == other.essence
    }
}

impl Hash for Tables {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.essence.hash(hasher);
    }
}

/// Founds the world.
pub(super) fn found(run: &Run) -> Arc<Tables> {
    run.known(Tables::of(&run.world, founded(&run.world), 0, (0, 0)))
}

/// A machine in which the sessions that are open from the start were opened in the first entry.
fn founded(world: &World) -> StateMachine {
    let mut machine = StateMachine::new().with_bounds(world.bounds);
    let found = Operation::Found(Found {
        cluster: ClusterId(1),
        counter_start: COUNTER_START,
        limits: world.limits.clone(),
        level: LEVEL_MAX,
    });
    let opened = (0..).zip(&world.clients).filter(|(_, plan)| plan.session.is_some_and(|session| session.open));
    let operations = std::iter::once(found).chain(opened.map(|(client, _)| message::open(world, client)));
    let commands = operations.map(|operation| Command { principal: None, not_after: None, operation }).collect();
    apply(&mut machine, log_time(world, 0), commands);
    machine
}

/// Applies one entry to a machine.
pub(super) fn apply(machine: &mut StateMachine, at: LogTime, commands: Vec<Command>) -> Effects {
    let index = machine.applied().map_or(1, |entry| entry.index + 1);
    machine.apply(EntryId { leader: LEADER, index }, &Batch { at, stamped_by: LEADER, commands })
}

impl Tables {
    /// The machine that these rows are.
    pub(super) fn machine(&self, world: &World) -> StateMachine {
        StateMachine::from_rows(self.rows.iter().cloned())
            .expect("its own rows make a machine")
            .with_bounds(world.bounds)
    }

    /// See [`liveness::stuck`].
    pub(super) fn stuck(&self, world: &World) -> Option<&str> {
        let look = || match catch_unwind(AssertUnwindSafe(|| liveness::stuck(world, self))) {
            Ok(stuck) => stuck,
            Err(panic) => Some(panic_text(panic.as_ref())),
        };
        self.stuck.get_or_init(look).as_deref()
    }

    /// What an entry does that moves time by so many steps and carries this message, or nothing.
    pub(super) fn after(&self, run: &Run, message: Option<&Message>, steps: u8) -> Arc<Applied> {
        let key = (message.cloned(), steps);
        if let Some(known) = locked(&self.after).get(&key) {
            return Arc::clone(known);
        }
        let applied = catch_unwind(AssertUnwindSafe(|| self.apply(&run.world, message, steps)));
        let applied = Arc::new(match applied {
            Ok((tables, effects)) => Ok((run.known(tables), effects)),
            Err(panic) => Err(panic_text(panic.as_ref())),
        });
        locked(&self.after).insert(key, Arc::clone(&applied));
        applied
    }

    fn apply(&self, world: &World, message: Option<&Message>, steps: u8) -> (Self, Effects) {
        let step = self.step + steps;
        let restores = world.planted == Some(Planted::RestoresBackup) && steps > 0;
        let mut machine = if restores { founded(world) } else { self.machine(world) };
        let at = if world.planted == Some(Planted::TimeStands) { 0 } else { step };
        let commands = message.map(|message| message.command(world, &self.picture)).into_iter().collect();
        let effects = apply(&mut machine, log_time(world, at), commands);
        let mut last_made = self.last_made;
        for event in &effects.events {
            if let EventKind::Granted { granted, .. } = &event.kind {
                let token = granted.grants.iter().map(|grant| grant.token.0).max().unwrap_or(0);
                let lease = if granted.lease.is_session() { 0 } else { granted.lease.0 };
                last_made = (last_made.0.max(token), last_made.1.max(lease));
            }
        }
        (Self::of(world, machine, step, last_made), effects)
    }

    fn of(world: &World, mut machine: StateMachine, step: u8, last_made: (u64, u128)) -> Self {
        let rows = machine.rows();
        let mut identity = TwoHashes::default();
        identity.add(&(step, last_made));
        rows.iter().filter(|(key, _)| key != HEADER_KEY).for_each(|row| identity.add(row));
        Self {
            step,
            last_made,
            identity: identity.finish(),
            essence: essence(world, &rows, step),
            picture: picture(world, &machine),
            rows,
            after: Mutex::default(),
            stuck: OnceLock::new(),
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("the machine panics: {}", text.unwrap_or("without a text"))
}
