//! With nothing but time, everything is freed, and then forgotten.

use leasehold_state_machine::{Command, LogTime, Operation, REMEMBER_MS};

use super::picture::picture;
use super::planted::Planted;
use super::tables::{Tables, apply};
use super::world::{AskLease, World};

/// Lets time pass in a copy of the machine, deadline by deadline, with nothing arriving. What is wrong, or None.
pub(super) fn stuck(world: &World, tables: &Tables) -> Option<String> {
    let mut machine = tables.machine(world);
    let start = machine.now();
    let bound = start.plus_ms(longest_ms(world));
    let mut entries = 0;
    while let Some(earliest) = machine.earliest_deadline() {
        // A tombstone's turn comes last: until then leases and waits run out one after the other.
        let idle = picture(world, &machine).is_idle();
        let at = if idle { machine.now().max(earliest).plus_ms(REMEMBER_MS) } else { earliest.plus_ms(1) };
        if !idle && at > bound {
            return Some(format!("held or awaited longer than {bound}: {:?}", picture(world, &machine)));
        }
        let at = if world.planted == Some(Planted::TimeStands) { start } else { at };
        tick(&mut machine, at);
        entries += 1;
        if entries > 200 {
            return Some(format!("not over after {entries} entries: {:?}", picture(world, &machine)));
        }
    }
    let left = picture(world, &machine);
    (!left.is_idle() || !left.requests.is_empty()).then(|| format!("left for ever: {left:?}"))
}

fn tick(machine: &mut leasehold_state_machine::StateMachine, at: LogTime) {
    apply(machine, at, vec![Command { principal: None, not_after: None, operation: Operation::Tick }]);
}

/// The longest for which anything can be held or awaited once nothing arrives: each request in its turn holds for its
/// lease and its lock-delay, or waits until its deadline.
fn longest_ms(world: &World) -> u64 {
    let sessions = world.clients.iter().filter_map(|client| client.session).map(|session| session.ttl);
    let asks = world.clients.iter().flat_map(|client| &client.tasks).flat_map(|task| &task.asks);
    let spans = asks.map(|ask| {
        let ttl = match ask.lease {
            AskLease::Own(ttl) => ttl,
            AskLease::Session | AskLease::Convert => 0,
        };
        ttl + ask.lock_delay + 2
    });
    let waits = world.clients.iter().flat_map(|client| &client.tasks).flat_map(|task| &task.asks).map(|ask| ask.wait);
    let longest_wait = waits.max().unwrap_or(0);
    spans.chain(sessions.map(|ttl| ttl + 1)).map(|steps| world.ms(steps)).sum::<u64>() + world.ms(longest_wait)
}
