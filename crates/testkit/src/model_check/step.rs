//! One step of a world.

use std::sync::Arc;

use super::action::Action;
use super::arrival;
use super::client::{Mail, Phase, Session, Task};
use super::message::{Kind, Message, session_id};
use super::planted::Planted;
use super::rules;
use super::run::Run;
use super::state::State;
use super::world::{Ask, AskLease, SHARED, World};

/// The state after a step; None where it changes nothing.
pub(super) fn step(run: &Run, before: &State, action: &Action) -> Option<State> {
    let world = &run.world;
    let mut state = before.clone();
    match action {
        Action::Deliver { message, steps } => arrival::of_entry(run, &mut state, Some(message), *steps),
        Action::Tick { steps } => arrival::of_entry(run, &mut state, None, *steps),
        own => of_client(world, &mut state, own),
    }
    rules::of_beliefs(world, &mut state);
    (state != *before).then_some(state)
}

fn of_client(world: &World, state: &mut State, action: &Action) {
    match *action {
        Action::Open { client } => {
            let sent = state.now;
            state.client_mut(client).session = Session::Opening { sent };
            send(world, state, Kind::Open { client });
        }
        Action::Close { client, lease } => {
            let own = state.client_mut(client);
            if lease == session_id(client).0 {
                own.session = Session::Over;
            }
            own.lose_lease(lease);
            send(world, state, Kind::Close { client, lease });
        }
        Action::Crash { client } => crash(world, state, client),
        Action::Ask { client, task } => ask(world, state, client, task),
        Action::Retry { client, task, broken } => retry(world, state, client, task, broken),
        Action::Cancel { client, task } => {
            let own = task_of(state, client, task);
            let Phase::Asking { attempt, .. } = own.phase else { return };
            own.phase = Phase::Cancelling { attempt };
            let counter = own.counter;
            send(world, state, Kind::Cancel { client, task, counter, attempt, by_node: false });
        }
        Action::Hear { client, task } => hear(world, state, client, task),
        Action::Release { client, task, ref tokens } => {
            let own = task_of(state, client, task);
            let locks = own.holds.iter().filter(|hold| tokens.contains(&hold.token));
            let locks = locks.map(|hold| (hold.lock, hold.token)).collect();
            own.holds.retain(|hold| !tokens.contains(&hold.token));
            send(world, state, Kind::Release { client, locks });
        }
        Action::Renew { client, lease } => {
            state.client_mut(client).renewals += 1;
            let sent = state.now;
            send(world, state, Kind::Renew { client, lease, sent });
        }
        Action::Force { client, lock, token } => {
            state.client_mut(client).forced = true;
            send(world, state, Kind::Force { client, lock, token });
        }
        Action::Deliver { .. } | Action::Tick { .. } => {}
    }
}

pub(super) fn task_of(state: &mut State, client: u8, task: u8) -> &mut Task {
    &mut state.client_mut(client).tasks[usize::from(task)]
}

fn send(world: &World, state: &mut State, kind: Kind) {
    let taken = if world.forgets() { state.now } else { 0 };
    Arc::make_mut(&mut state.sent).insert(Message { taken, kind });
}

/// A client stops for ever. The nodes of its waiting calls notice that.
fn crash(world: &World, state: &mut State, client: u8) {
    for task in 0..world.clients[usize::from(client)].tasks.len() as u8 {
        let Task { step, counter, ref phase, .. } = *task_of(state, client, task);
        if let Phase::Asking { attempt, .. } = *phase
            && world.ask(client, task, step).breaks
        {
            send(world, state, Kind::Cancel { client, task, counter, attempt, by_node: true });
        }
    }
    state.client_mut(client).crash(session_id(client).0);
}

/// The task's next ask, or its first.
fn ask(world: &World, state: &mut State, client: u8, task: u8) {
    let owner = state.client_mut(client);
    let counter = owner.next_counter;
    if world.planted != Some(Planted::ReusesIds) {
        owner.next_counter += 1;
    }
    let own = &mut owner.tasks[usize::from(task)];
    if own.phase != Phase::Ready {
        own.step += 1;
    }
    own.counter = counter;
    own.phase = Phase::Settled { attempt: 0, got: false };
    let asked = world.ask(client, task, own.step);
    // From its send on a downgrade may be done at any moment.
    if asked.lease == AskLease::Convert && world.planted != Some(Planted::DowngradesLate) {
        let (lock, mode) = asked.locks[0];
        let shares = mode == SHARED;
        own.holds.iter_mut().filter(|hold| shares && hold.lock == lock).for_each(|hold| hold.mode = mode);
    }
    retry(world, state, client, task, false);
}

/// The next attempt of the task's ask; what the earlier one is answered is not heard any more.
fn retry(world: &World, state: &mut State, client: u8, task: u8, broken: bool) {
    let sent = state.now;
    let own = task_of(state, client, task);
    let (step, counter) = (own.step, own.counter);
    let (Phase::Asking { attempt: last, .. } | Phase::Settled { attempt: last, .. }) = own.phase else { return };
    let attempt = last + 1;
    own.phase = Phase::Asking { attempt, sent, mail: None };
    let lock = world.ask(client, task, step).locks[0].0;
    let converts = own.holds.iter().find(|hold| hold.lock == lock).map(|hold| hold.token);
    let converts = converts.filter(|_| world.ask(client, task, step).lease == AskLease::Convert);
    let lowest = if world.marks { state.clients[usize::from(client)].lowest_unanswered() } else { 0 };
    if broken {
        send(world, state, Kind::Cancel { client, task, counter, attempt: last, by_node: true });
    }
    send(world, state, Kind::Acquire { client, task, step, counter, attempt, lowest, converts });
}

/// A task hears the answer to its call.
fn hear(world: &World, state: &mut State, client: u8, task: u8) {
    let own = task_of(state, client, task);
    let (counter, asked) = (own.counter, world.ask(client, task, own.step));
    let Phase::Asking { attempt, mail: Some(mail), .. } = own.phase.clone() else { return };
    own.phase = Phase::Settled { attempt, got: matches!(mail, Mail::Granted { .. }) };
    match mail {
        Mail::No { lost } => {
            let converted = asked.locks[0].0;
            let gone = lost && asked.lease == AskLease::Convert;
            own.holds.retain(|hold| !gone || hold.lock != converted);
            let past = state.past_mut((client, counter));
            past.refused = past.refused.max(u32::from(attempt));
        }
        Mail::Granted { lease, grants, through, forced } => {
            let through = misjudged(world, asked, state.now, through);
            let held = state.held();
            let owner = state.client_mut(client);
            let looks = owner.told_of_force(lease, forced, &held) && world.planted != Some(Planted::IgnoresForce);
            let grants: Vec<_> = grants.into_iter().filter(|grant| !looks || held.contains(&grant.2)).collect();
            let ended = asked.lease == AskLease::Session && !owner.has_session();
            let own = &mut owner.tasks[usize::from(task)];
            match asked.lease {
                // By all that it knows its session has ended: so has this grant.
                AskLease::Session if ended => {}
                AskLease::Session | AskLease::Own(_) => own.take(lease, &grants, through),
                AskLease::Convert => own.convert(lease, asked.locks[0].0, grants.first().copied(), through),
            }
        }
    }
}

/// What mistakes that are planted make of the step through which a grant can be counted on.
fn misjudged(world: &World, asked: &Ask, now: u8, through: Option<u8>) -> Option<u8> {
    let AskLease::Own(ttl) = asked.lease else { return through };
    match world.planted {
        Some(Planted::CountsFromAnswer) if through.is_some() => Some(now + ttl),
        Some(Planted::TrustsGrantAfterWait) if through.is_none() => Some(now + ttl),
        _ => through,
    }
}
