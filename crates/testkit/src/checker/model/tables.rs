//! The model's tables, expiry and hand-over.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_state_machine::RequestId;

use super::{End, ReplayedGrant, Why};
use crate::dump::Lease;

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) now: u64,
    pub(super) founded: bool,
    pub(super) next_token: u64,
    pub(super) next_lease: u64,
    pub(super) leases: BTreeMap<Lease, LeaseRow>,
    /// Lock, to the token that holds it.
    pub(super) holders: BTreeMap<String, u64>,
    /// Lock, to its waiters in queue order.
    pub(super) queues: BTreeMap<String, Vec<u64>>,
    /// By number: log order.
    pub(super) waiters: BTreeMap<u64, Waiter>,
    pub(super) requests: BTreeMap<RequestId, Request>,
    /// Client instance, to its lowest unanswered counter.
    pub(super) marks: BTreeMap<u64, u64>,
    index: u64,
    waiters_ever: u64,
    deadlines: BTreeSet<(u64, Due)>,
    grants: BTreeMap<u64, ReplayedGrant>,
}

/// Leases before waiters, at one deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Lease(Lease),
    Waiter(u64),
}

#[derive(Debug)]
pub(super) struct LeaseRow {
    pub(super) request: RequestId,
    pub(super) ttl_ms: u64,
    pub(super) deadline: u64,
    pub(super) confirm: bool,
    /// Lock and token of each grant that still hangs on it.
    pub(super) grants: Vec<(String, u64)>,
}

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) request: RequestId,
    pub(super) locks: Vec<String>,
    pub(super) ttl_ms: u64,
    pub(super) deadline: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) attempt: u32,
    pub(super) state: State,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum State {
    Waiting(u64),
    Granted(Lease),
    Refused,
    Over { why: Why, token: Option<u64> },
}

impl Tables {
    pub(super) fn begin(&mut self, index: u64) {
        self.index = index;
    }

    /// Moves log time, expires what is due, then hands over what that freed.
    pub(super) fn advance(&mut self, at: u64) {
        self.now = self.now.max(at);
        while let Some(&(deadline, due)) = self.deadlines.first() {
            if deadline >= self.now {
                break;
            }
            match due {
                Due::Lease(lease) => self.end_lease(lease, Why::Expired),
                Due::Waiter(waiter) => self.end_wait(waiter, Why::Expired),
            }
        }
        self.hand_over();
    }

    pub(super) fn queue(&self, lock: &str) -> &[u64] {
        self.queues.get(lock).map_or(&[], Vec::as_slice)
    }

    /// What keeps somebody with this place in the queue (None: at its end) from the lock.
    pub(super) fn obstacle(&self, lock: &str, place: Option<u64>) -> Option<String> {
        if let Some(token) = self.holders.get(lock) {
            return Some(format!("token {token} holds {lock}"));
        }
        let ahead = self.queue(lock).iter().find(|waiter| place.is_none_or(|place| **waiter < place));
        ahead.map(|waiter| format!("request {} waits for {lock}", self.waiters[waiter].request))
    }

    /// Grants whatever waiter can go, the longest waiting first.
    pub(super) fn hand_over(&mut self) {
        while let Some(waiter) = self.first_to_go() {
            let Waiter { request, locks, ttl_ms, .. } = self.remove_waiter(waiter);
            self.grant(request, locks, ttl_ms, true);
        }
    }

    fn first_to_go(&self) -> Option<u64> {
        let heads = self.queues.iter().filter(|(lock, _)| !self.holders.contains_key(*lock));
        let mut heads: Vec<u64> = heads.filter_map(|(_, queue)| queue.first().copied()).collect();
        heads.sort_unstable();
        heads
            .into_iter()
            .find(|waiter| self.waiters[waiter].locks.iter().all(|lock| self.obstacle(lock, Some(*waiter)).is_none()))
    }

    pub(super) fn grant(&mut self, request: RequestId, locks: Vec<String>, ttl_ms: u64, confirm: bool) -> Lease {
        let lease = Lease(self.next_lease.into());
        self.next_lease += 1;
        let mut grants = Vec::new();
        for lock in locks {
            let token = self.next_token;
            self.next_token += 1;
            self.holders.insert(lock.clone(), token);
            let grant = ReplayedGrant { token, lock: lock.clone(), request, index: self.index, end: None };
            self.grants.insert(token, grant);
            grants.push((lock, token));
        }
        let deadline = self.now + ttl_ms;
        self.deadlines.insert((deadline, Due::Lease(lease)));
        self.leases.insert(lease, LeaseRow { request, ttl_ms, deadline, confirm, grants });
        self.set_state(request, State::Granted(lease));
        lease
    }

    pub(super) fn enqueue(&mut self, request: RequestId, locks: Vec<String>, ttl_ms: u64, deadline: u64) {
        self.waiters_ever += 1;
        let waiter = self.waiters_ever;
        for lock in &locks {
            self.queues.entry(lock.clone()).or_default().push(waiter);
        }
        self.deadlines.insert((deadline, Due::Waiter(waiter)));
        self.waiters.insert(waiter, Waiter { request, locks, ttl_ms, deadline });
        self.set_state(request, State::Waiting(waiter));
    }

    pub(super) fn renew(&mut self, lease: Lease, ttl_ms: Option<u64>) -> Option<u64> {
        let row = self.leases.get_mut(&lease)?;
        self.deadlines.remove(&(row.deadline, Due::Lease(lease)));
        row.ttl_ms = ttl_ms.unwrap_or(row.ttl_ms);
        row.deadline = row.deadline.max(self.now + row.ttl_ms);
        row.confirm = false;
        self.deadlines.insert((row.deadline, Due::Lease(lease)));
        Some(row.deadline - self.now)
    }

    pub(super) fn rearm(&mut self, waiter: u64, deadline: u64) {
        let Some(row) = self.waiters.get_mut(&waiter) else { return };
        self.deadlines.remove(&(row.deadline, Due::Waiter(waiter)));
        row.deadline = deadline;
        self.deadlines.insert((deadline, Due::Waiter(waiter)));
    }

    /// Ends one grant; its lease goes with the last one.
    pub(super) fn end_grant(&mut self, token: u64, why: Why) {
        let Some(lock) = self.grants.get(&token).map(|grant| grant.lock.clone()) else { return };
        let lease = self.leases.iter().find(|(_, row)| row.grants.contains(&(lock.clone(), token))).map(|(id, _)| *id);
        let Some(row) = lease.and_then(|lease| self.leases.get_mut(&lease)) else { return };
        if row.grants.len() == 1 {
            self.end_lease(lease.unwrap_or(Lease(0)), why);
        } else {
            row.grants.retain(|(_, other)| *other != token);
            self.end_hold(&lock, token, why);
        }
    }

    /// Ends a lease with its grants.
    pub(super) fn end_lease(&mut self, lease: Lease, why: Why) {
        let Some(row) = self.leases.remove(&lease) else { return };
        self.deadlines.remove(&(row.deadline, Due::Lease(lease)));
        for (lock, token) in &row.grants {
            self.end_hold(lock, *token, why);
        }
        let token = row.grants.first().map(|(_, token)| *token);
        self.set_state(row.request, State::Over { why, token });
    }

    fn end_hold(&mut self, lock: &str, token: u64, why: Why) {
        self.holders.remove(lock);
        if let Some(grant) = self.grants.get_mut(&token) {
            grant.end = Some(End { why });
        }
    }

    pub(super) fn end_wait(&mut self, waiter: u64, why: Why) {
        let request = self.remove_waiter(waiter).request;
        self.set_state(request, State::Over { why, token: None });
    }

    fn remove_waiter(&mut self, waiter: u64) -> Waiter {
        let row = self.waiters.remove(&waiter).expect("the waiter is queued");
        self.deadlines.remove(&(row.deadline, Due::Waiter(waiter)));
        for lock in &row.locks {
            if let Some(queue) = self.queues.get_mut(lock) {
                queue.retain(|other| *other != waiter);
                if queue.is_empty() {
                    self.queues.remove(lock);
                }
            }
        }
        row
    }

    fn set_state(&mut self, request: RequestId, state: State) {
        self.requests.entry(request).or_insert(Request { attempt: 1, state }).state = state;
    }

    pub(super) fn into_grants(self) -> BTreeMap<u64, ReplayedGrant> {
        self.grants
    }
}
