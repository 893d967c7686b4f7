//! What can happen next in a state.

use std::fmt;

use leasehold_state_machine::CALL_MS_MAX;

use super::client::{Client, Phase, Session, Task};
use super::message::{Message, session_id};
use super::state::State;
use super::world::{AskLease, ClientPlan, Lock, World};

/// One step. Clients and tasks are named by their place in the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// A client opens its session.
    Open { client: u8 },
    /// A client closes a lease.
    Close { client: u8, lease: u128 },
    /// A client stops for ever.
    Crash { client: u8 },
    /// A task sends its next ask.
    Ask { client: u8, task: u8 },
    /// A task sends the next attempt. `broken`: its call broke before, and the node cancels the attempt.
    Retry { client: u8, task: u8, broken: bool },
    /// A task gives up.
    Cancel { client: u8, task: u8 },
    /// A task hears the answer that is on its way.
    Hear { client: u8, task: u8 },
    /// A task releases some of what it holds.
    Release { client: u8, task: u8, tokens: Vec<u64> },
    /// A client renews a lease.
    Renew { client: u8, lease: u128 },
    /// A client looks who holds a lock, and ends that grant by force.
    Force { client: u8, lock: Lock, token: u64 },
    /// A message arrives, in an entry that moves time by so many steps.
    Deliver { message: Message, steps: u8 },
    /// Time moves by so many steps.
    Tick { steps: u8 },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deliver { message, steps: 0 } => write!(f, "arrives: {:?}", message.kind),
            Self::Deliver { message, steps } => write!(f, "arrives with {steps} step of time: {:?}", message.kind),
            Self::Tick { steps } => write!(f, "time moves by {steps}"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// All that can happen next. After a broken rule nothing does.
pub(super) fn actions(world: &World, state: &State, actions: &mut Vec<Action>) {
    if state.flaw.is_some() {
        return;
    }
    for (number, (client, plan)) in (0..).zip(state.clients.iter().zip(&world.clients)) {
        if !client.crashed {
            of_client(world, state, number, client, plan, actions);
        }
    }
    let may_tick = state.now < world.steps;
    for message in state.sent.iter() {
        actions.push(Action::Deliver { message: message.clone(), steps: 0 });
        if may_tick && world.time_in_commands {
            actions.push(Action::Deliver { message: message.clone(), steps: 1 });
        }
    }
    if may_tick {
        actions.push(Action::Tick { steps: 1 });
    }
}

fn of_client(world: &World, state: &State, number: u8, client: &Client, plan: &ClientPlan, to: &mut Vec<Action>) {
    let session = session_id(number).0;
    if client.session == Session::Unopened {
        to.push(Action::Open { client: number });
    }
    if plan.closes {
        let leases = client.leases(session);
        to.extend(leases.into_iter().map(|lease| Action::Close { client: number, lease }));
    }
    if plan.crashes {
        to.push(Action::Crash { client: number });
    }
    if client.renewals < plan.renewals {
        let leases = client.leases(session);
        to.extend(leases.into_iter().map(|lease| Action::Renew { client: number, lease }));
    }
    if let Some(lock) = plan.forces.filter(|_| !client.forced) {
        let holders = &state.tables.picture.locks[usize::from(lock)].holders;
        to.extend(holders.iter().map(|holder| Action::Force { client: number, lock, token: holder.token }));
    }
    for task in 0..client.tasks.len() as u8 {
        of_task(world, state, number, task, to);
    }
}

fn of_task(world: &World, state: &State, client: u8, task: u8, to: &mut Vec<Action>) {
    let owner = &*state.clients[usize::from(client)];
    let own = &owner.tasks[usize::from(task)];
    let ask = world.ask(client, task, own.step);
    match &own.phase {
        Phase::Ready if may_ask(world, client, owner, task, own, own.step) => to.push(Action::Ask { client, task }),
        Phase::Ready | Phase::Cancelling { .. } => {}
        Phase::Asking { attempt, mail, sent } => {
            // A client does not come back to an id that it has said nothing about for longer than a call may take.
            let in_time = world.ms(state.now - sent) <= CALL_MS_MAX;
            if *attempt < ask.attempts && in_time && may_ask(world, client, owner, task, own, own.step) {
                to.push(Action::Retry { client, task, broken: false });
                if ask.breaks {
                    to.push(Action::Retry { client, task, broken: true });
                }
            }
            if ask.cancels {
                to.push(Action::Cancel { client, task });
            }
            if mail.is_some() {
                to.push(Action::Hear { client, task });
            }
        }
        Phase::Settled { attempt, got } => {
            if !got && *attempt < ask.attempts && may_ask(world, client, owner, task, own, own.step) {
                to.push(Action::Retry { client, task, broken: false });
            }
            if may_ask(world, client, owner, task, own, own.step + 1) {
                to.push(Action::Ask { client, task });
            }
        }
    }
    if matches!(own.phase, Phase::Ready | Phase::Settled { .. }) {
        releases(world, client, task, own, to);
    }
}

fn may_ask(world: &World, client: u8, owner: &Client, task: u8, own: &Task, step: u8) -> bool {
    let asks = &world.clients[usize::from(client)].tasks[usize::from(task)].asks;
    let Some(ask) = asks.get(usize::from(step)) else { return false };
    let holds = !own.holds.is_empty();
    match ask.lease {
        AskLease::Own(_) => holds || !ask.nested,
        AskLease::Session => owner.has_session() && (holds || !ask.nested),
        AskLease::Convert => {
            let (lock, mode) = ask.locks[0];
            let again = step == own.step && own.counter > 0;
            own.holds.iter().any(|hold| hold.lock == lock && (again || hold.mode != mode))
        }
    }
}

/// Each lock for itself, and all at once.
fn releases(world: &World, client: u8, task: u8, own: &Task, to: &mut Vec<Action>) {
    let free = own.holds.iter().filter(|hold| world.ask(client, task, hold.step).releases);
    let tokens: Vec<u64> = free.map(|hold| hold.token).collect();
    to.extend(tokens.iter().map(|token| Action::Release { client, task, tokens: vec![*token] }));
    if tokens.len() > 1 {
        to.push(Action::Release { client, task, tokens });
    }
}
