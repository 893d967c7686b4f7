//! One log through the state machine and the model.

use std::collections::BTreeMap;

use leasehold_reference::Model;
use leasehold_state_machine::storage::SnapshotFile;
use leasehold_state_machine::{
    Batch, Bounds, ClusterId, Command, Effects, EntryId, Found, LeaderStamp, LeaseId, Limits, LogTime, Mode,
    OpenSession, Operation, Outcome, Refusal, RowChange, StateMachine, codec,
};

use crate::coverage::Seen;
use crate::draw::{founding_limits, roomy_limits};
use crate::invariants;
use crate::resolve::{Sent, session};
use crate::script::Script;
use crate::steps::{Entry, Log, NAMES, NAMESPACES, SESSIONS, Stamp, Step, Then, Time};

/// What machine and model differ in.
pub type Verdict = Result<(), String>;

pub fn found(level: u32, limits: Limits) -> Found {
    Found { cluster: ClusterId(9), counter_start: 100, limits, level }
}

fn opened(number: u64) -> Operation {
    let owner = format!("opener {number}");
    let namespace = NAMESPACES[0].to_owned();
    Operation::OpenSession(OpenSession {
        session: session(number),
        namespace,
        ttl_ms: 80_000,
        owner,
        metadata: "m".into(),
    })
}

fn tight_bounds() -> Bounds {
    Bounds {
        expiries_per_entry_max: 3,
        expiries_beside_commands_max: 2,
        instances_max: 3,
        requests_max: 12,
        losses_max: 3,
        limited_namespaces_max: 1,
        lock_delays_max: 2,
    }
}

pub struct Run {
    machine: StateMachine,
    model: Model,
    bounds: Bounds,
    leader: LeaderStamp,
    index: u64,
    sent: Sent,
    /// What `take_changes` said so far.
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Entries since.
    log: Vec<(EntryId, Batch)>,
    pub seen: Seen,
    /// What was said, for people. None: nobody asked.
    pub script: Option<Script>,
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, machine: &T, model: &T) -> Verdict {
    if machine == model {
        return Ok(());
    }
    Err(format!("{what}:\n  machine {machine:?}\n  model   {model:?}"))
}

impl Run {
    pub fn new(tight: bool) -> Self {
        let bounds = if tight { tight_bounds() } else { Bounds { lock_delays_max: 6, ..Bounds::default() } };
        Self {
            machine: StateMachine::new().with_bounds(bounds),
            model: Model::new(bounds),
            bounds,
            leader: LeaderStamp { term: 1, node: 1 },
            index: 0,
            sent: Sent::default(),
            rows: BTreeMap::new(),
            log: Vec::new(),
            seen: Seen::default(),
            script: None,
        }
    }

    /// The whole of a log, from its founding on.
    pub fn log(&mut self, log: &Log) -> Verdict {
        let leader = self.leader;
        let limits = if log.crowd { roomy_limits() } else { founding_limits() };
        let mut first = vec![Operation::Tick, Operation::Found(found(log.level, limits))];
        if log.crowd {
            first.extend((0..SESSIONS).map(opened));
        }
        let command = |operation| Command { principal: None, not_after: None, operation };
        let commands = first.into_iter().map(command).collect();
        self.batch(Batch { at: LogTime(0), stamped_by: leader, commands })?;
        for entry in &log.entries {
            self.entry(entry, log.pace)?;
        }
        self.checkpoint()?;
        self.restore()
    }

    fn entry(&mut self, entry: &Entry, pace: u64) -> Verdict {
        if entry.stamp == Stamp::NewLeader {
            self.leader.term += 1;
        }
        let shift = |by: i64| LogTime(self.model.now().0.saturating_add_signed(by));
        let at = match entry.time {
            Time::Passes(ms) => shift(ms / pace as i64),
            Time::Deadline(off) => {
                LogTime(self.model.earliest_deadline().map_or(0, |deadline| deadline.0.saturating_add_signed(off)))
            }
        };
        let not_after = entry.not_after.map(shift);
        let stamped_by = if entry.stamp == Stamp::Deposed { LeaderStamp { term: 0, node: 1 } } else { self.leader };
        let commands = entry.steps.iter().map(|step| self.command(step, not_after)).collect();
        self.batch(Batch { at, stamped_by, commands })?;
        match entry.then {
            Then::Nothing => Ok(()),
            Then::Checkpoint => self.checkpoint(),
            Then::Replay => self.replay(),
            Then::Restore => self.restore(),
            Then::Snapshot => self.snapshot(),
        }
    }

    fn command(&mut self, step: &Step, not_after: Option<LogTime>) -> Command {
        // What a node does on its own carries no bound.
        let operation = self.sent.operation(step, &self.model);
        Command { principal: None, not_after, operation }
    }

    fn batch(&mut self, batch: Batch) -> Verdict {
        self.index += 1;
        let id = EntryId { leader: self.leader, index: self.index };
        if let Some(script) = &mut self.script {
            script.entry(id, &batch);
        }
        let decoded = through_bytes(&batch)?;
        let before = invariants::Before::of(&self.machine);
        let busy = self.busy(&decoded);
        let found = self.machine.apply(id, &decoded);
        let found = Effects { outcomes: found.outcomes.into_iter().map(without_text).collect(), events: found.events };
        if let Some(script) = &mut self.script {
            script.effects(&found);
        }
        if let (Some(holders), Some(outcome)) = (busy, found.outcomes.first()) {
            self.seen.one(format!("busy before the entry: {holders}"));
            if !matches!(outcome, Outcome::Held(_) | Outcome::Refused(_)) {
                return Err(format!("a try that needed no entry, as it could only be refused, came to {outcome:?}"));
            }
        }
        let expected = self.model.apply(id, &batch, &found.outcomes);
        for (at, (found, expected)) in found.outcomes.iter().zip(&expected.outcomes).enumerate() {
            same(&format!("outcome of command {at}, {:?}", batch.commands[at].operation), found, expected)?;
        }
        same("number of outcomes", &found.outcomes.len(), &expected.outcomes.len())?;
        same("events", &found.events, &expected.events)?;
        self.seen.count(&found);
        self.compare_views()?;
        invariants::check(&self.machine, &before, &found)?;
        self.log.push((id, batch));
        Ok(())
    }

    /// Whether the first command of an entry is a try that could have been answered without it, at the entry's time.
    fn busy(&self, batch: &Batch) -> Option<&'static str> {
        let Operation::Acquire(acquire) = &batch.commands.first()?.operation else { return None };
        let held = self.machine.busy(acquire, batch.at)?;
        Some(match held.holders.first().map(|holder| holder.mode) {
            None => "a lock-delay",
            Some(Mode::Exclusive) => "exclusive",
            Some(Mode::Shared) => "shared",
            Some(Mode::Permits { .. }) => "permits",
        })
    }

    fn compare_views(&self) -> Verdict {
        let (machine, model) = (&self.machine, &self.model);
        same("now", &machine.now(), &model.now())?;
        same("level", &machine.level(), &model.level())?;
        same("earliest deadline", &machine.earliest_deadline(), &model.earliest_deadline())?;
        for namespace in NAMESPACES {
            for name in NAMES {
                let view = model.lock(namespace, name);
                same("lock", &machine.lock(namespace, name), &view)?;
                let waiters = view.as_ref().map_or(0, |view| view.waiter_count);
                same("waiter count", &machine.waiter_count(namespace, name), &waiters)?;
            }
            same("listed locks", &machine.locks(namespace, "", None, 99), &model.locks(namespace))?;
            let mut sessions = (0..SESSIONS).filter_map(|number| model.session(session(number))).collect::<Vec<_>>();
            sessions.retain(|view| view.namespace == namespace);
            same("sessions", &machine.sessions(namespace, None, 99), &sessions)?;
        }
        self.compare_ids()
    }

    /// What can be asked about single ids.
    fn compare_ids(&self) -> Verdict {
        let (machine, model) = (&self.machine, &self.model);
        for acquire in self.sent.acquires.iter().rev().take(10) {
            same("request", &machine.request(acquire.request), &model.request(acquire.request))?;
        }
        let last = model.next_lease().0;
        let numbered = (last.saturating_sub(6)..=last).map(LeaseId);
        for lease in numbered.chain((0..SESSIONS).map(session)) {
            same("lease", &machine.lease_left_ms(lease), &model.lease_left_ms(lease))?;
            same("session", &machine.session(lease), &model.session(lease))?;
            same("end of lease", &machine.lease_end(lease), &model.lease_end(lease))?;
        }
        for back in 0..6 {
            let token = leasehold_state_machine::FencingToken(model.next_token().0.saturating_sub(back));
            let name = NAMES[(self.index % 4) as usize];
            let found = machine.check_token(NAMESPACES[0], name, token);
            same("token", &found, &model.check_token(NAMESPACES[0], name, token))?;
        }
        Ok(())
    }

    /// What the checkpoint would hold equals the rows of the whole.
    fn checkpoint(&mut self) -> Verdict {
        let changes = self.machine.take_changes();
        same("applied in the changes", &changes.applied, &self.machine.applied())?;
        if !changes.rows.windows(2).all(|pair| pair[0].key < pair[1].key) {
            return Err("changed rows are not in key order".into());
        }
        for RowChange { key, value } in changes.rows {
            match value {
                Some(value) => drop(self.rows.insert(key, value)),
                None if self.rows.remove(&key).is_some() => {}
                None => return Err(format!("row {key:?} goes that was never there")),
            }
        }
        self.log.clear();
        let rows: BTreeMap<_, _> = self.machine.rows().into_iter().collect();
        if rows == self.rows { Ok(()) } else { Err("changes since the last checkpoint do not make the rows".into()) }
    }

    /// A restart: the last checkpoint, and the log after it.
    fn replay(&mut self) -> Verdict {
        let mut copy = match self.rows.is_empty() {
            true => StateMachine::new(),
            false => from_rows(self.rows.clone())?,
        }
        .with_bounds(self.bounds);
        for (id, batch) in &self.log {
            copy.apply(*id, batch);
        }
        self.go_on_with(copy)
    }

    fn restore(&mut self) -> Verdict {
        let copy = from_rows(self.machine.rows())?;
        self.go_on_with(copy.with_bounds(self.bounds))?;
        // Nothing is pending in it: its checkpoint is the rows that it came from.
        self.rows = self.machine.rows().into_iter().collect();
        self.log.clear();
        Ok(())
    }

    fn snapshot(&mut self) -> Verdict {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let file = SnapshotFile::write_state(folder.path(), &mut self.machine).map_err(|error| error.to_string())?;
        let copy = file.load().map_err(|error| error.to_string())?.with_bounds(self.bounds);
        self.go_on_with(copy)?;
        self.rows = self.machine.rows().into_iter().collect();
        self.log.clear();
        Ok(())
    }

    fn go_on_with(&mut self, mut copy: StateMachine) -> Verdict {
        same("state hash of the copy", &copy.state_hash(), &self.machine.state_hash())?;
        if copy.rows() != self.machine.rows() {
            return Err("the copy has other rows".into());
        }
        self.machine = copy;
        self.compare_views()
    }
}

fn from_rows(rows: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Result<StateMachine, String> {
    StateMachine::from_rows(rows).map_err(|error| format!("rows make no machine: {error}"))
}

/// The texts are for people: the model does not know them.
fn without_text(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Refused(Refusal::Invalid { field, .. }) => {
            Outcome::Refused(Refusal::Invalid { field, problem: String::new() })
        }
        other => other,
    }
}

fn through_bytes(batch: &Batch) -> Result<Batch, String> {
    let commands: Vec<_> = batch.commands.iter().map(codec::encode_command).collect();
    let decoded = codec::decode_batch(&codec::encode_batch(batch.at, batch.stamped_by, &commands));
    let decoded = decoded.map_err(|error| format!("what was encoded does not decode: {error}"))?;
    same("batch after its bytes", &decoded, batch)?;
    Ok(decoded)
}
