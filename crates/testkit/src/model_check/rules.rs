//! What must hold after every step. Every rule is said anew here, over what readers see and what clients were told.

use std::sync::Arc;

use leasehold_state_machine::{Event, EventKind};

use super::client::Client;
use super::deadlocks;
use super::events::owner_of;
use super::message::{RequestKey, request_key, session_id};
use super::modes::{covers, fits};
use super::picture::{LockPicture, Picture, Standing, Waiting};
use super::rule::Rule;
use super::run::Run;
use super::state::State;
use super::world::{LOCKS, World};

/// A lock that a client may be using at this moment.
#[derive(Debug, Clone, Copy)]
struct Belief {
    /// Its client's task's request, which may be converting what it holds.
    request: RequestKey,
    lease: u128,
    lock: u8,
    mode: leasehold_state_machine::Mode,
    token: u64,
}

/// Rules over what clients count on.
pub(super) fn of_beliefs(world: &World, state: &mut State) {
    let clients = (0..).zip(&state.clients);
    let beliefs: Vec<Belief> = clients.flat_map(|(number, client)| beliefs_of(number, client, state.now)).collect();
    // With lock-delays that outlast every lease, even a grant that was ended by force is given to nobody else too early.
    let lasting =
        world.clients.iter().flat_map(|plan| &plan.tasks).flat_map(|task| &task.asks).all(|a| a.lock_delay > 0);
    for belief in &beliefs {
        let forced = was_forced(state, belief);
        if !forced && !is_true(&state.tables.picture, belief) {
            return state.break_rule(Rule::BeliefsAreTrue, || format!("not so: {belief:?}"));
        }
        if forced && !lasting {
            continue;
        }
        let others = beliefs.iter().filter(|other| other.lock == belief.lock && other.token != belief.token);
        let others = others.filter(|other| lasting || !was_forced(state, other)).map(|other| other.mode);
        if !fits(belief.mode, others) {
            let all: Vec<&Belief> = beliefs.iter().filter(|other| other.lock == belief.lock).collect();
            return state.break_rule(Rule::BeliefsAreCompatible, || format!("at once: {all:?}"));
        }
    }
    no_is_final(state);
}

fn beliefs_of(number: u8, client: &Client, now: u8) -> Vec<Belief> {
    let session = session_id(number).0;
    let mut beliefs = Vec::new();
    for task in &client.tasks {
        for hold in &task.holds {
            if client.counts_on(hold.lease, session, hold.through) >= Some(now) {
                beliefs.push(Belief {
                    request: (number, task.counter),
                    lease: hold.lease,
                    lock: hold.lock,
                    mode: hold.mode,
                    token: hold.token,
                });
            }
        }
    }
    beliefs
}

/// It is held under the token that the client knows, or under the one for which the client's request converted that.
fn is_true(picture: &Picture, belief: &Belief) -> bool {
    picture.locks[usize::from(belief.lock)].holders.iter().any(|holder| {
        let known = holder.token == belief.token || owner_of(picture, holder.token) == Some(belief.request);
        known && holder.lease == belief.lease && covers(holder.mode, belief.mode)
    })
}

fn was_forced(state: &State, belief: &Belief) -> bool {
    let converted = match state.tables.picture.standing(belief.request) {
        Some(Standing::Ended { reason, .. }) => *reason == leasehold_state_machine::LossReason::Forced,
        _ => false,
    };
    converted || state.ghost.forced.contains(&belief.token)
}

/// Rules over the machine, after an entry. `old`: what readers saw before it.
pub(super) fn of_machine(run: &Run, state: &mut State, old: &Picture, events: &[Event]) {
    let world = &run.world;
    let tables = Arc::clone(&state.tables);
    let picture = &tables.picture;
    for (name, lock) in LOCKS.iter().zip(&picture.locks) {
        if !holders_fit(lock) {
            state.break_rule(Rule::HoldersAreCompatible, || format!("{name} is held by {:?}", lock.holders));
        }
    }
    let now = state.now;
    let delays = state.ghost.delays.map(|delay| delay >= Some(now));
    if let Some(request) = waits_in_vain(picture, &delays) {
        state.break_rule(Rule::NobodyWaitsInVain, || format!("{request:?} waits: {:?}", picture.locks));
    }
    let moves = Moves::of(events);
    for request in &moves.granted {
        if let Some(waiter) = overtaken_by(*request, old, picture, &moves) {
            let what = || format!("{request:?} overtook {waiter:?}: {:?}", picture.locks);
            state.break_rule(Rule::NobodyIsOvertaken, what);
        }
    }
    if let Some(what) = outlives(world, picture) {
        state.break_rule(Rule::NothingOutlivesItsLease, || what);
    }
    if world.all_act()
        && let Some(node) = deadlocks::cycle(&deadlocks::waits(state, picture))
    {
        state.break_rule(Rule::NoCycleStands, || format!("{node:?} waits for itself: {:?}", picture.locks));
    }
}

/// Whether the holders of a lock may hold it together.
fn holders_fit(lock: &LockPicture) -> bool {
    lock.holders.iter().enumerate().all(|(place, holder)| {
        let others = lock.holders.iter().enumerate().filter(|(other, _)| *other != place);
        fits(holder.mode, others.map(|(_, other)| other.mode))
    })
}

/// Somebody who waits although, in each of its queues, nothing is in its way: no lock-delay, no holder, and nobody ahead.
fn waits_in_vain(picture: &Picture, delays: &[bool]) -> Option<RequestKey> {
    let all = picture.locks.iter().flat_map(|lock| &lock.waiters).map(|waiter| waiter.request);
    all.into_iter().find(|request| {
        picture.locks.iter().zip(delays).all(|(lock, delayed)| {
            let Some(place) = lock.waiters.iter().position(|waiter| waiter.request == *request) else { return true };
            !delayed && is_free_for(lock, &lock.waiters[place], &lock.waiters[..place])
        })
    })
}

fn is_free_for(lock: &LockPicture, waiter: &Waiting, ahead: &[Waiting]) -> bool {
    let holders = lock.holders.iter().filter(|holder| waiter.converts != Some(holder.token));
    fits(waiter.mode, holders.map(|holder| holder.mode).chain(ahead.iter().map(|other| other.mode)))
}

/// What moved in the queues in one entry.
#[derive(Default)]
struct Moves {
    granted: Vec<RequestKey>,
    /// Waits that ended without a grant: who waits again stands at the end.
    left: Vec<RequestKey>,
    /// Tokens that took the place of others.
    converted: Vec<u64>,
}

impl Moves {
    fn of(events: &[Event]) -> Self {
        let mut moves = Self::default();
        for event in events {
            match &event.kind {
                EventKind::Granted { request, .. } => moves.granted.push(request_key(*request)),
                EventKind::WaitEnded { request, .. } => moves.left.push(request_key(*request)),
                EventKind::Converted { token, .. } => moves.converted.push(token.0),
                _ => {}
            }
        }
        moves
    }
}

/// Somebody who still waits for a lock that a request behind him was granted, and who is in its way. Converts go ahead
/// of all.
fn overtaken_by(request: RequestKey, old: &Picture, picture: &Picture, moves: &Moves) -> Option<RequestKey> {
    let Some(Standing::Granted { tokens, .. }) = picture.standing(request) else { return None };
    for (lock, before) in picture.locks.iter().zip(&old.locks) {
        let own = |token: u64| tokens.contains(&token) && !moves.converted.contains(&token);
        let Some(holder) = lock.holders.iter().find(|holder| own(holder.token)) else { continue };
        let place = before.waiters.iter().position(|waiter| waiter.request == request);
        let ahead = &before.waiters[..place.unwrap_or(before.waiters.len())];
        let stayed = |waiter: &&Waiting| {
            !moves.left.contains(&waiter.request) && ahead.iter().any(|other| other.request == waiter.request)
        };
        let waiting: Vec<&Waiting> = lock.waiters.iter().filter(stayed).collect();
        let others = lock.holders.iter().filter(|other| other.token != holder.token).map(|other| other.mode);
        if !fits(holder.mode, others.chain(waiting.iter().map(|waiter| waiter.mode))) {
            return waiting.first().map(|waiter| waiter.request);
        }
    }
    None
}

fn outlives(world: &World, picture: &Picture) -> Option<String> {
    if picture.due && !world.expires_late() {
        return Some("something that is due is left".into());
    }
    let holders = picture.locks.iter().flat_map(|lock| &lock.holders).map(|holder| holder.lease);
    let waiters = picture.locks.iter().flat_map(|lock| &lock.waiters).filter_map(|waiter| waiter.lease);
    let orphan = holders.chain(waiters).find(|lease| !picture.leases.contains(lease))?;
    Some(format!("lease {orphan:x} has ended: {:?}", picture.locks))
}

/// What a client was told to be over holds and awaits nothing.
fn no_is_final(state: &mut State) {
    let broken = state.ghost.requests.iter().find_map(|(key, past)| match state.tables.picture.standing(*key) {
        Some(Standing::Waiting { attempt } | Standing::Granted { attempt, .. }) if *attempt <= past.refused => {
            Some((*key, *attempt, past.refused))
        }
        _ => None,
    });
    if let Some((key, attempt, refused)) = broken {
        let what = || format!("attempt {attempt} of {key:?} holds or waits, and {refused} was told that it does not");
        state.break_rule(Rule::NoIsFinal, what);
    }
}

/// The rules over the machine alone can fail: shown on pictures that the machine must never give.
#[cfg(test)]
mod tests {
    use leasehold_state_machine::Mode;

    use super::super::picture::Holder;
    use super::*;

    fn holder(token: u64, mode: Mode) -> Holder {
        Holder { token, lease: u128::from(token), mode, actor: String::new() }
    }

    fn waiter(client: u8, mode: Mode) -> Waiting {
        Waiting { request: (client, 1), mode, lease: None, actor: String::new(), converts: None }
    }

    fn picture(holders: Vec<Holder>, waiters: Vec<Waiting>) -> Picture {
        let leases = holders.iter().map(|holder| holder.lease).collect();
        let locks = [LockPicture { holders, waiters }, LockPicture::default()];
        Picture { locks, leases, ..Picture::default() }
    }

    #[test]
    fn two_exclusive_holders_are_found() {
        let two = picture(vec![holder(1, Mode::Exclusive), holder(2, Mode::Exclusive)], vec![]);
        assert!(!holders_fit(&two.locks[0]));
        assert!(holders_fit(&picture(vec![holder(1, Mode::Shared), holder(2, Mode::Shared)], vec![]).locks[0]));
    }

    #[test]
    fn waiter_without_anything_in_its_way_is_found() {
        let free = picture(vec![holder(1, Mode::Shared)], vec![waiter(2, Mode::Shared)]);
        assert_eq!(waits_in_vain(&free, &[false, false]), Some((2, 1)));
        assert_eq!(waits_in_vain(&free, &[true, false]), None, "a lock-delay runs");
        let behind = picture(vec![holder(1, Mode::Shared)], vec![waiter(2, Mode::Exclusive), waiter(3, Mode::Shared)]);
        assert_eq!(waits_in_vain(&behind, &[false, false]), None);
    }

    #[test]
    fn upgrade_without_other_holders_is_found() {
        let mut upgrader = waiter(1, Mode::Exclusive);
        upgrader.converts = Some(1);
        let alone = picture(vec![holder(1, Mode::Shared)], vec![upgrader.clone()]);
        assert_eq!(waits_in_vain(&alone, &[false, false]), Some((1, 1)));
        let beside = picture(vec![holder(1, Mode::Shared), holder(2, Mode::Shared)], vec![upgrader]);
        assert_eq!(waits_in_vain(&beside, &[false, false]), None);
    }

    #[test]
    fn overtaken_waiter_is_found() {
        let before = picture(vec![holder(1, Mode::Shared)], vec![waiter(2, Mode::Exclusive), waiter(3, Mode::Shared)]);
        let mut after =
            picture(vec![holder(1, Mode::Shared), holder(9, Mode::Shared)], vec![waiter(2, Mode::Exclusive)]);
        after.requests = vec![((3, 1), Standing::Granted { attempt: 1, tokens: vec![9] })];
        let mut moves = Moves::default();
        assert_eq!(overtaken_by((3, 1), &before, &after, &moves), Some((2, 1)));
        moves.left.push((2, 1));
        assert_eq!(overtaken_by((3, 1), &before, &after, &moves), None, "the writer has left, and waits again");
        moves.left.clear();
        moves.converted.push(9);
        assert_eq!(overtaken_by((3, 1), &before, &after, &moves), None, "a convert goes ahead");
    }

    #[test]
    fn holder_of_a_dead_lease_is_found() {
        let world = World::new("nothing", 0, Vec::new());
        let mut dead = picture(vec![holder(1, Mode::Exclusive)], vec![]);
        assert_eq!(outlives(&world, &dead), None);
        dead.due = true;
        assert!(outlives(&world, &dead).is_some());
        (dead.due, dead.leases) = (false, Vec::new());
        assert!(outlives(&world, &dead).is_some());
    }
}
