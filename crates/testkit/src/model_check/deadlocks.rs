//! Cycles of waits, searched for by brute force over what readers see.

use leasehold_state_machine::{Deadlock, Mode};

use super::coverage::Seen;
use super::events::{ask_of, owner_of};
use super::message::{Kind, Message, RequestKey, session_id};
use super::modes::fits;
use super::picture::Picture;
use super::rule::Rule;
use super::run::Run;
use super::state::State;
use super::tables::Tables;
use super::world::{LOCKS, World};

/// A client and a task of it: who waits, and for whom.
type Node = (u8, u8);
/// Who waits for whom, and for which lock.
type Edge = (Node, Node, usize);

/// Who waits for whom.
pub(super) fn waits(state: &State, picture: &Picture) -> Vec<Edge> {
    let node = |key: RequestKey| ask_of(state, key).map(|(task, _)| (key.0, task));
    let mut edges = Vec::new();
    for (number, lock) in picture.locks.iter().enumerate() {
        for (place, waiter) in lock.waiters.iter().enumerate() {
            let Some(from) = node(waiter.request) else { continue };
            let holders = lock.holders.iter().filter(|holder| waiter.converts != Some(holder.token));
            let holders = holders.map(|holder| (holder.mode, owner_of(picture, holder.token)));
            let ahead = lock.waiters[..place].iter().map(|other| (other.mode, Some(other.request)));
            for (mode, owner) in holders.chain(ahead) {
                let to = owner.and_then(node);
                edges.extend(to.filter(|_| !fits(waiter.mode, [mode])).map(|to| (from, to, number)));
            }
        }
    }
    edges
}

/// Somebody who waits for himself.
pub(super) fn cycle(edges: &[Edge]) -> Option<Node> {
    edges.iter().map(|(from, _, _)| *from).find(|node| reaches(edges, *node, *node))
}

/// Whether a way of at least one edge leads there.
fn reaches(edges: &[Edge], from: Node, to: Node) -> bool {
    let mut seen = vec![from];
    let mut at = 0;
    while let Some(&node) = seen.get(at) {
        for (_, next, _) in edges.iter().filter(|(from, _, _)| *from == node) {
            if *next == to {
                return true;
            }
            if !seen.contains(next) {
                seen.push(*next);
            }
        }
        at += 1;
    }
    false
}

/// An acquire was answered as a deadlock, for the first time. Whether it would have closed a cycle is found out from the
/// machine before it, and so is whether the cycle that was told is one.
pub(super) fn check(run: &Run, state: &mut State, old: &Tables, (message, steps): (&Message, u8), deadlock: &Deadlock) {
    let Kind::Acquire { client, task, step, converts, .. } = message.kind else { return };
    let world = &run.world;
    // Time moves before the entry's command runs.
    let moved = old.after(run, None, steps);
    let Ok((tables, _)) = &*moved else { return };
    let picture = &tables.picture;
    let upgraders =
        |lock: &&(u8, Mode)| picture.locks[usize::from(lock.0)].waiters.iter().any(|w| w.converts.is_some());
    let ask = world.ask(client, task, step);
    if converts.is_some() && ask.locks.iter().any(|lock| upgraders(&lock)) {
        return run.coverage.add(Seen::SecondUpgrader);
    }
    let mut edges = waits(state, picture);
    add_waits_of(state, picture, (client, task), &ask.locks, converts, &mut edges);
    run.coverage.add(if deadlock.cycle.len() > 2 { Seen::DeadlockOfThree } else { Seen::Deadlock });
    if !reaches(&edges, (client, task), (client, task)) {
        let what = || format!("{:?} is answered {:?}, and closes no cycle of {edges:?}", message.kind, deadlock.cycle);
        return state.break_rule(Rule::DeadlocksAreReal, what);
    }
    let told: Vec<Option<(Node, usize)>> = deadlock
        .cycle
        .iter()
        .map(|step| {
            Some((node_named(world, step.lease.0, &step.actor)?, LOCKS.iter().position(|l| **l == *step.name)?))
        })
        .collect();
    let next = told.iter().cycle().skip(1);
    let real = told.iter().zip(next).all(|(from, to)| match (from, to) {
        (Some((from, lock)), Some((to, _))) => edges.contains(&(*from, *to, *lock)),
        _ => false,
    });
    let begins = told.first().copied().flatten().is_some_and(|(node, _)| node == (client, task));
    if !real || !begins {
        let what = || format!("the cycle {:?} that {:?} is told is none of {edges:?}", deadlock.cycle, message.kind);
        state.break_rule(Rule::DeadlocksAreReal, what);
    }
}

fn node_named(world: &World, lease: u128, actor: &str) -> Option<Node> {
    let client = (0..world.clients.len() as u8).find(|client| session_id(*client).0 == lease)?;
    let tasks = &world.clients[usize::from(client)].tasks;
    let task = tasks.iter().position(|task| task.actor == Some(actor))?;
    Some((client, task as u8))
}

/// The waits that there would be if the request queued.
fn add_waits_of(
    state: &State,
    picture: &Picture,
    from: Node,
    locks: &[(u8, Mode)],
    converts: Option<u64>,
    edges: &mut Vec<Edge>,
) {
    let node = |key: RequestKey| ask_of(state, key).map(|(task, _)| (key.0, task));
    for (lock, mode) in locks {
        let number = usize::from(*lock);
        let (holders, waiters) = (&picture.locks[number].holders, &picture.locks[number].waiters);
        for holder in holders.iter().filter(|holder| Some(holder.token) != converts) {
            let to = owner_of(picture, holder.token).and_then(node);
            edges.extend(to.filter(|_| !fits(*mode, [holder.mode])).map(|to| (from, to, number)));
        }
        for waiter in waiters.iter().filter(|waiter| !fits(*mode, [waiter.mode])) {
            let Some(other) = node(waiter.request) else { continue };
            // An upgrade goes ahead of all who wait, all others behind them.
            edges.push(if converts.is_some() { (other, from, number) } else { (from, other, number) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_closed_ways_are_cycles() {
        let (a, b, c) = ((0, 0), (1, 0), (2, 0));
        assert_eq!(cycle(&[(a, b, 0), (b, c, 1), (a, c, 0)]), None);
        assert_eq!(cycle(&[(a, b, 0), (b, c, 1), (c, b, 0)]), Some(b));
        assert_eq!(cycle(&[(a, a, 0)]), Some(a));
    }
}
