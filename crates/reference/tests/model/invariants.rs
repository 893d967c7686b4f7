//! What must hold after every entry, whatever the model says: seen through the public views alone.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_state_machine::{Effects, EventKind, LockView, LogTime, Mode, RequestId, StateMachine, WaiterView};

use crate::run::Verdict;
use crate::steps::NAMESPACES;

/// The state before an entry, as far as the invariants compare with it.
pub struct Before {
    now: LogTime,
    /// Deadlines of the waits, by request: queues at the time.
    waits: BTreeMap<RequestId, u64>,
    greatest_token: u64,
}

fn locks(machine: &StateMachine) -> impl Iterator<Item = LockView> {
    NAMESPACES.iter().flat_map(|namespace| machine.locks(namespace, "", None, usize::MAX))
}

impl Before {
    pub fn of(machine: &StateMachine) -> Self {
        let now = machine.now();
        let mut waits = BTreeMap::new();
        let mut greatest_token = 0;
        for lock in locks(machine) {
            waits.extend(lock.waiters.iter().map(|waiter| (waiter.request, now.0 + waiter.left_ms)));
            greatest_token = lock.holders.iter().map(|holder| holder.token.0).fold(greatest_token, u64::max);
        }
        Self { now, waits, greatest_token }
    }
}

pub fn check(machine: &StateMachine, before: &Before, effects: &Effects) -> Verdict {
    if machine.now() < before.now {
        return Err("log time went back".into());
    }
    let locks: Vec<LockView> = locks(machine).collect();
    for lock in &locks {
        holders_go_together(lock)?;
    }
    // What is due but not yet removed still stands in the way.
    let overdue = machine.earliest_deadline().is_some_and(|deadline| deadline < machine.now());
    if !overdue {
        nobody_waits_who_could_go(&locks)?;
    }
    grants_are_right(machine, before, effects)
}

fn holders_go_together(lock: &LockView) -> Verdict {
    let modes: Vec<Mode> = lock.holders.iter().map(|holder| holder.mode).collect();
    if room_for_all(&modes) { Ok(()) } else { Err(format!("{} has incompatible holders {modes:?}", lock.name)) }
}

/// One exclusive, or shared ones, or permits of one limit that suffices.
fn room_for_all(modes: &[Mode]) -> bool {
    let permits = |mode: &Mode| match mode {
        Mode::Permits { permits, limit } => Some((u64::from(*permits), *limit)),
        Mode::Exclusive | Mode::Shared => None,
    };
    let taken: Vec<(u64, u32)> = modes.iter().filter_map(permits).collect();
    let limit = taken.first().map_or(0, |(_, limit)| *limit);
    let semaphore = taken.len() == modes.len()
        && taken.iter().all(|(_, other)| *other == limit)
        && taken.iter().map(|(permits, _)| permits).sum::<u64>() <= limit.into();
    modes.len() <= 1 || modes.iter().all(|mode| *mode == Mode::Shared) || semaphore
}

/// FIFO without barging: a waiter is left waiting only if, at one of its locks, it has no room beside the holders and
/// those ahead of it, or a lock-delay runs.
fn nobody_waits_who_could_go(locks: &[LockView]) -> Verdict {
    let mut blocked: BTreeSet<RequestId> = BTreeSet::new();
    let mut waiting: BTreeSet<RequestId> = BTreeSet::new();
    for lock in locks {
        for (place, waiter) in lock.waiters.iter().enumerate() {
            waiting.insert(waiter.request);
            if lock.delay_left_ms > 0 || !has_room(lock, place, waiter) {
                blocked.insert(waiter.request);
            }
        }
    }
    match waiting.difference(&blocked).next() {
        None => Ok(()),
        Some(request) => Err(format!("request {request} waits, but could go: {locks:?}")),
    }
}

fn has_room(lock: &LockView, place: usize, waiter: &WaiterView) -> bool {
    let holders = lock.holders.iter().filter(|holder| Some(holder.token) != waiter.converts);
    let ahead = lock.waiters[..place].iter().map(|other| other.mode);
    let modes: Vec<Mode> = holders.map(|holder| holder.mode).chain(ahead).chain([waiter.mode]).collect();
    room_for_all(&modes)
}

/// Tokens go up, and no wait that was over before this entry's time is granted.
fn grants_are_right(machine: &StateMachine, before: &Before, effects: &Effects) -> Verdict {
    let mut last = before.greatest_token;
    // Waits that ended or were armed anew in this entry.
    let mut renewed = BTreeSet::new();
    for event in &effects.events {
        match &event.kind {
            EventKind::Queued { request, .. } | EventKind::WaitEnded { request, .. } => drop(renewed.insert(*request)),
            EventKind::Granted { request, granted, .. } => {
                for lock in &granted.grants {
                    if lock.token.0 <= last {
                        return Err(format!("token {} comes after token {last}", lock.token));
                    }
                    last = lock.token.0;
                }
                let wait = before.waits.get(request).filter(|_| !renewed.contains(request));
                if wait.is_some_and(|deadline| *deadline < machine.now().0) {
                    return Err(format!("request {request} was granted after its wait was over"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}
