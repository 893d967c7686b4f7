//! The real machine as a part of a state: its rows, and a picture of what they say.
//!
//! A state keeps the rows, and every step builds the machine from them, applies one entry and takes the rows again. So
//! every reachable state is also written and restored once, as a snapshot would.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use leasehold_state_machine::{
    Batch, ClusterId, Command, Effects, EntryId, EventKind, Found, HEADER_KEY, LEVEL_MAX, LeaderStamp, LeaseId,
    LogTime, Mode, Operation, RequestView, StateMachine,
};

use super::message::{self, Message, RequestKey, request_id, request_key, session_id};
use super::planted::Planted;
use super::run::{Run, locked};
use super::world::{LOCKS, World};

/// The namespace of all locks.
pub(super) const NAMESPACE: &str = "model";
/// Log time of the first step. So great that its encoded form is recognised in the bytes of a row.
const EPOCH_MS: u64 = 0x5a5b_0000;
const COUNTER_START: u64 = 1_000;
const LEADER: LeaderStamp = LeaderStamp { term: 1, node: 1 };

/// Log time at a step.
pub(super) fn log_time(world: &World, step: u8) -> LogTime {
    LogTime(EPOCH_MS + world.ms(step))
}

/// The rows of a machine, with what was read from it.
#[derive(Debug)]
pub struct Tables {
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
    pub picture: Picture,
    /// What entries were found to do to it.
    after: Mutex<HashMap<(Option<Message>, u8), Arc<Applied>>>,
}

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

/// What readers see of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picture {
    /// In the order of [`LOCKS`].
    pub locks: [LockPicture; LOCKS.len()],
    /// Requests that are known.
    pub requests: Vec<(RequestKey, Standing)>,
    /// Leases of holders and waiters, and sessions, that are alive.
    pub leases: Vec<u128>,
    /// Something is due that has not expired.
    pub due: bool,
    /// Something will expire.
    pub pending: bool,
}

/// One lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockPicture {
    /// In grant order.
    pub holders: Vec<Holder>,
    /// In queue order.
    pub waiters: Vec<Waiting>,
}

/// One holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its token.
    pub token: u64,
    /// Its lease.
    pub lease: u128,
    /// How it holds.
    pub mode: Mode,
    /// Its actor; empty: none.
    pub actor: String,
}

/// One waiter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its request.
    pub request: RequestKey,
    /// How it wants to hold.
    pub mode: Mode,
    /// Its session, or the lease of what it converts.
    pub lease: Option<u128>,
    /// Its actor; empty: none.
    pub actor: String,
    /// Token of the grant that it converts.
    pub converts: Option<u64>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Waiting { attempt: u32 },
    Granted { attempt: u32, tokens: Vec<u64> },
    Ended { attempt: u32, reason: leasehold_state_machine::LossReason },
}

impl Picture {
    pub(super) fn standing(&self, request: RequestKey) -> Option<&Standing> {
        self.requests.iter().find(|(key, _)| *key == request).map(|(_, standing)| standing)
    }

    /// Nothing is held or awaited, and no session is open.
    pub(super) fn is_idle(&self) -> bool {
        self.leases.is_empty() && self.locks.iter().all(|lock| lock.holders.is_empty() && lock.waiters.is_empty())
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
        StateMachine::from_rows(self.rows.iter().cloned()).expect("its own rows make a machine").with_bounds(world.bounds)
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
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("the machine panics: {}", text.unwrap_or("without a text"))
}

/// A hash of 128 bits.
#[derive(Default)]
struct TwoHashes(std::hash::DefaultHasher, std::hash::DefaultHasher);

impl TwoHashes {
    fn add(&mut self, value: &impl Hash) {
        value.hash(&mut self.0);
        (1_u8, value).hash(&mut self.1);
    }

    fn finish(&self) -> u128 {
        u128::from(self.0.finish()) << 64 | u128::from(self.1.finish())
    }
}

/// What readers see of a machine. Every lock and request is asked for by name.
pub(super) fn picture(world: &World, machine: &StateMachine) -> Picture {
    let mut picture = Picture::default();
    for (lock, name) in picture.locks.iter_mut().zip(LOCKS) {
        let Some(view) = machine.lock(NAMESPACE, name) else { continue };
        assert_eq!(view.waiter_count, view.waiters.len(), "small queues are seen whole");
        let holder = |h: &leasehold_state_machine::HolderView| Holder {
            token: h.token.0,
            lease: h.lease.0,
            mode: h.mode,
            actor: h.actor.clone(),
        };
        let waiting = |w: &leasehold_state_machine::WaiterView| Waiting {
            request: request_key(w.request),
            mode: w.mode,
            lease: w.lease.map(|lease| lease.0),
            actor: w.actor.clone(),
            converts: w.converts.map(|token| token.0),
        };
        lock.holders = view.holders.iter().map(holder).collect();
        lock.waiters = view.waiters.iter().map(waiting).collect();
    }
    for (client, plan) in (0..).zip(&world.clients) {
        let asks: usize = plan.tasks.iter().map(|task| task.asks.len()).sum();
        for counter in 1..=asks as u8 {
            let standing = match machine.request(request_id((client, counter))) {
                RequestView::Unknown => continue,
                RequestView::Waiting { attempt } => Standing::Waiting { attempt },
                RequestView::Granted { attempt, granted } => {
                    Standing::Granted { attempt, tokens: granted.grants.iter().map(|grant| grant.token.0).collect() }
                }
                RequestView::Ended { attempt, ended } => Standing::Ended { attempt, reason: ended.reason },
            };
            picture.requests.push(((client, counter), standing));
        }
    }
    picture.leases = leases(world, machine, &picture);
    let earliest = machine.earliest_deadline();
    picture.due = earliest.is_some_and(|earliest| earliest < machine.now());
    picture.pending = earliest.is_some();
    picture
}

fn leases(world: &World, machine: &StateMachine, picture: &Picture) -> Vec<u128> {
    let holders = picture.locks.iter().flat_map(|lock| &lock.holders).map(|holder| holder.lease);
    let waiters = picture.locks.iter().flat_map(|lock| &lock.waiters).filter_map(|waiter| waiter.lease);
    let sessions = (0..world.clients.len() as u8).map(|client| session_id(client).0);
    let mut leases: Vec<u128> = holders.chain(waiters).chain(sessions).collect();
    leases.sort_unstable();
    leases.dedup();
    leases.retain(|lease| machine.lease_left_ms(LeaseId(*lease)).is_some());
    leases
}

/// Tag bytes of the rows that say how locks and leases were lost.
const LOSS: u8 = 7;
const LEASE_END: u8 = 8;

/// Hash of all that decides how the machine goes on within the world, and of nothing else, so that more states are found
/// to be the same:
/// - of the header, log time: the other counters only name what is new, and the world is the same for all its states;
/// - not why locks and leases were lost: that is told, and decides nothing, but that an ended session stays ended;
/// - all points of log time that have passed are one, and so are those beyond the end of the world.
fn essence(world: &World, rows: &[(Vec<u8>, Vec<u8>)], step: u8) -> u128 {
    let mut hash = TwoHashes::default();
    hash.add(&step);
    for (key, value) in rows {
        match key.as_slice() {
            HEADER_KEY | [LOSS, ..] => {}
            [LEASE_END, ..] => hash.add(key),
            _ => hash.add(&(key, timeless(world, value, step))),
        }
    }
    hash.finish()
}

/// An encoded row in which the points of log time that decide nothing are zero. A u64 of that size is encoded as one
/// byte that says so, and four more, little endian.
fn timeless(world: &World, row: &[u8], step: u8) -> Vec<u8> {
    const FOUR_BYTES: u8 = 252;
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    let mut row = row.to_vec();
    let (now, end) = (log_time(world, step).0, log_time(world, world.steps).0);
    for at in 0..row.len().saturating_sub(4) {
        let &[FOUR_BYTES, a, b, c, d] = &row[at..at + 5] else { continue };
        let time = u64::from(u32::from_le_bytes([a, b, c, d]));
        // Where due items are left for later entries, it matters in which order they are due.
        let past = (EPOCH_MS..now).contains(&time) && !world.expires_late();
        if past || (end + 1..EPOCH_MS + DAY_MS).contains(&time) {
            row[at + 1..at + 5].fill(0);
        }
    }
    row
}
