//! Deadlock detection: the waits-for graph over (session, actor).
//!
//! A waiting request waits for every holder, and for every waiter ahead, of its locks that it could not hold a lock
//! together with. Every other rule of the queue gives way in time by itself. Permits that only together leave no room are
//! no edge: any of them may be the one that makes room. Requests and grants without an actor take no part.
//!
//! Only a new wait can close a cycle, and the cycle goes through its actor: a grant out of the queue leaves every edge
//! where it was, and a grant at once stands in nobody's way. An upgrade goes ahead of all who wait for its lock, so they all
//! wait for it from then on; when it is granted at once its actor waits for nothing, and so stands in no cycle.
//!
//! That holds for actors that wait for one thing at a time, as tasks do. One that asks for an upgrade while another request of it
//! waits may come into a cycle unseen, if the upgrade is granted at once. Its next upgrade that has to wait is told of it, whether
//! or not it makes anything worse.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::keys::{LockKey, WaiterId};
use super::rows::{Claim, Wanted};
use super::tables::{Actor, Tables};
use crate::{DEADLOCK_CYCLE_MAX, DEADLOCK_SEARCH_MAX, Deadlock, DeadlockStep, FencingToken, Mode};

/// How the search came to an actor.
struct Reached {
    /// Who waits for it.
    from: Actor,
    /// The step of `from`: what it waits with and for.
    step: DeadlockStep,
    depth: usize,
}

/// A search from the request that is about to wait.
struct Search<'a> {
    tables: &'a Tables,
    root: Actor,
    /// The lock whose queue it is about to pass by, as an upgrade.
    passes: Option<&'a LockKey>,
    reached: BTreeMap<Actor, Reached>,
    next: VecDeque<Actor>,
    /// Holders and waiters looked at.
    looked_at: usize,
}

impl Tables {
    /// The cycle that this claim would close if it waited; the shortest, in the order of locks, holders and queues.
    pub(super) fn deadlock(&self, claim: &Claim) -> Option<Deadlock> {
        let root = self.actor_of(claim)?;
        // Somebody must wait for it: for what it holds, for another wait of it, or as it passes the queue.
        if claim.converts().is_none() && !self.actors.contains_key(&root) {
            return None;
        }
        let passes = claim.converts().map(|_| &claim.wanted[0].lock);
        let (reached, next) = (BTreeMap::new(), VecDeque::new());
        Search { tables: self, root, passes, reached, next, looked_at: 0 }.run(claim)
    }
}

impl Search<'_> {
    fn run(&mut self, claim: &Claim) -> Option<Deadlock> {
        let root = self.root.clone();
        if let Some(last) = self.expand(&root, claim, None, 1) {
            return Some(Deadlock { cycle: vec![last] });
        }
        if self.passes.is_some() {
            // Somebody waits for it from now on, so what it waits for already counts as well.
            self.next.push_back(root);
        }
        while let Some(actor) = self.next.pop_front() {
            let depth = self.reached.get(&actor).map_or(0, |reached| reached.depth) + 1;
            if depth > DEADLOCK_CYCLE_MAX || self.looked_at > DEADLOCK_SEARCH_MAX {
                return None;
            }
            let tables = self.tables;
            let waits = tables.actors.get(&actor).map(|found| &found.waits).into_iter().flatten();
            for waiter in waits {
                let Some(found) = tables.waiters.get(waiter) else { continue };
                if let Some(last) = self.expand(&actor, &found.claim, Some(*waiter), depth) {
                    return Some(self.cycle(actor, last));
                }
            }
        }
        None
    }

    /// Looks at all that one request waits for. Some: it is the actor that the search began with.
    fn expand(&mut self, from: &Actor, claim: &Claim, waiter: Option<WaiterId>, depth: usize) -> Option<DeadlockStep> {
        let tables = self.tables;
        for Wanted { lock: key, mode } in &claim.wanted {
            let Some(lock) = tables.locks.get(key) else { continue };
            let step = || DeadlockStep {
                lease: from.0,
                actor: from.1.to_string(),
                owner: tables.owner_of(claim).to_string(),
                name: key.name().to_owned(),
            };
            if waiter.is_some() && self.passes == Some(key) {
                return Some(step());
            }
            let own = claim.converts();
            let holders = lock.holders.as_slice().iter().filter(|token| Some(**token) != own);
            let holders = holders.filter_map(|token| tables.holding_actor(*token, *mode));
            // One that is not in the queue yet comes last, or as an upgrade first.
            let ahead: Box<dyn Iterator<Item = (WaiterId, Mode)>> = match waiter {
                Some(waiter) => Box::new(lock.ahead_of(waiter)),
                None if own.is_some() => Box::new(std::iter::empty()),
                None => Box::new(lock.queue()),
            };
            let ahead = ahead.filter_map(|(other, held)| tables.waiting_actor(other, held, *mode));
            for actor in holders.chain(ahead) {
                self.looked_at += 1;
                if actor == self.root {
                    return Some(step());
                }
                if !self.reached.contains_key(&actor) {
                    self.reached.insert(actor.clone(), Reached { from: from.clone(), step: step(), depth });
                    self.next.push_back(actor);
                }
                if self.looked_at > DEADLOCK_SEARCH_MAX {
                    return None;
                }
            }
        }
        None
    }

    /// From the root to `end`, whose step closes it.
    fn cycle(&self, end: Actor, last: DeadlockStep) -> Deadlock {
        let mut cycle = vec![last];
        let mut actor = end;
        while actor != self.root {
            let reached = self.reached.get(&actor).expect("every actor but the first was reached from another");
            cycle.push(reached.step.clone());
            actor = reached.from.clone();
        }
        cycle.reverse();
        Deadlock { cycle }
    }
}

impl Tables {
    /// The actor of a grant that keeps a request in this mode waiting.
    fn holding_actor(&self, token: FencingToken, mode: Mode) -> Option<Actor> {
        let grant = self.grants.get(&token)?;
        if grant.mode.compatible(mode) {
            return None;
        }
        grant.extras.actor().map(|actor| (grant.lease, actor.into()))
    }

    /// The actor of a waiter ahead that keeps a request in this mode waiting.
    fn waiting_actor(&self, waiter: WaiterId, ahead: Mode, mode: Mode) -> Option<Actor> {
        if ahead.compatible(mode) {
            return None;
        }
        self.waiters.get(&waiter).and_then(|waiter| self.actor_of(&waiter.claim))
    }

    /// Who asks; of a convert: who holds.
    pub(super) fn owner_of(&self, claim: &Claim) -> Arc<str> {
        let held = claim.converts().and_then(|token| self.grants.get(&token));
        held.map_or(&claim.owner, |grant| &grant.owner).clone()
    }
}
