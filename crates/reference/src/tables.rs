//! What there is: rows in ordered maps, and every deadline in one ordered set.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_state_machine::{LeaseId, RequestId};

use crate::losses::{LeaseEnds, Losses};
use crate::rows::{Delay, Due, Fate, Grant, Lease, Lock, LockKey, Mark, Record, Waiter};

/// The rows. The methods keep counts and deadlines in step with them; they know no rule of the lock model.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tables {
    pub(crate) leases: BTreeMap<LeaseId, Lease>,
    pub(crate) grants: BTreeMap<u64, Grant>,
    pub(crate) locks: BTreeMap<LockKey, Lock>,
    /// By number: log order.
    pub(crate) waiters: BTreeMap<u64, Waiter>,
    pub(crate) records: BTreeMap<RequestId, Record>,
    pub(crate) marks: BTreeMap<u64, Mark>,
    pub(crate) delays: BTreeMap<LockKey, Delay>,
    pub(crate) losses: Losses,
    pub(crate) lease_ends: LeaseEnds,
    /// Locks with a queue: the only ones at which anybody can be waiting to go.
    pub(crate) queued: BTreeSet<LockKey>,
    /// Locks at which something went since the last hand-over: only who awaits one of them may be able to go.
    pub(crate) freed: BTreeSet<LockKey>,
    /// Leases by namespace, with the waiters that will make one.
    leases_in: BTreeMap<String, u64>,
    /// Locks held and awaited that may bring a lock-delay.
    may_delay: usize,
    due: BTreeSet<(u64, Due)>,
    waiters_ever: u64,
    delays_ever: u64,
}

impl Tables {
    // ---- deadlines ----

    pub(crate) fn earliest(&self) -> Option<&(u64, Due)> {
        self.due.first()
    }

    // ---- leases ----

    pub(crate) fn add_lease(&mut self, id: LeaseId, lease: Lease) {
        self.due.insert((lease.deadline, Due::Lease(id)));
        *self.leases_in.entry(lease.namespace.clone()).or_default() += 1;
        self.leases.insert(id, lease);
    }

    pub(crate) fn remove_lease(&mut self, id: LeaseId) -> Option<Lease> {
        let lease = self.leases.remove(&id)?;
        assert!(lease.grants.is_empty() && lease.waiters.is_empty(), "lease {id} ends after what hangs on it");
        self.due.remove(&(lease.deadline, Due::Lease(id)));
        self.uncount_lease(&lease.namespace);
        Some(lease)
    }

    pub(crate) fn set_deadline(&mut self, id: LeaseId, deadline: u64) {
        let lease = self.leases.get_mut(&id).expect("the lease is alive");
        self.due.remove(&(lease.deadline, Due::Lease(id)));
        lease.deadline = deadline;
        self.due.insert((deadline, Due::Lease(id)));
    }

    pub(crate) fn leases_in(&self, namespace: &str) -> u64 {
        self.leases_in.get(namespace).copied().unwrap_or(0)
    }

    fn uncount_lease(&mut self, namespace: &str) {
        *self.leases_in.get_mut(namespace).expect("the namespace has a lease") -= 1;
    }

    // ---- grants ----

    pub(crate) fn add_grant(&mut self, token: u64, grant: Grant) {
        self.locks.entry(grant.lock.clone()).or_default().holders.insert(token);
        self.leases.get_mut(&grant.lease).expect("a grant hangs on a lease").grants.insert(token);
        self.may_delay += usize::from(grant.delay_ms > 0);
        self.grants.insert(token, grant);
    }

    pub(crate) fn remove_grant(&mut self, token: u64) -> Option<Grant> {
        let grant = self.grants.remove(&token)?;
        self.locks.get_mut(&grant.lock).expect("a held lock is there").holders.remove(&token);
        self.leases.get_mut(&grant.lease).expect("a grant hangs on a lease").grants.remove(&token);
        self.may_delay -= usize::from(grant.delay_ms > 0);
        self.tidy(&grant.lock);
        self.freed.insert(grant.lock.clone());
        Some(grant)
    }

    pub(crate) fn lock(&self, key: &LockKey) -> Option<&Lock> {
        self.locks.get(key)
    }

    pub(crate) fn holders(&self, key: &LockKey) -> impl Iterator<Item = (u64, &Grant)> {
        let tokens = self.lock(key).into_iter().flat_map(|lock| &lock.holders);
        tokens.map(|token| (*token, &self.grants[token]))
    }

    pub(crate) fn queue(&self, key: &LockKey) -> impl Iterator<Item = (u64, &Waiter)> {
        let queue = self.lock(key).into_iter().flat_map(|lock| &lock.queue);
        queue.map(|number| (*number, &self.waiters[number]))
    }

    pub(crate) fn queue_length(&self, key: &LockKey) -> usize {
        self.lock(key).map_or(0, |lock| lock.queue.len())
    }

    /// Forgets a lock that nobody holds or awaits.
    fn tidy(&mut self, key: &LockKey) {
        if let Some(lock) = self.locks.get(key) {
            if lock.queue.is_empty() {
                self.queued.remove(key);
            }
            if lock.queue.is_empty() && lock.holders.is_empty() {
                self.locks.remove(key);
            }
        }
    }

    // ---- waiters ----

    /// At the end of the queues, or ahead of all. Returns its number.
    pub(crate) fn add_waiter(&mut self, waiter: Waiter, ahead_of_all: bool) -> u64 {
        self.waiters_ever += 1;
        let number = self.waiters_ever;
        for key in waiter.want.keys() {
            self.queued.insert(key.clone());
            let queue = &mut self.locks.entry(key).or_default().queue;
            if ahead_of_all { queue.push_front(number) } else { queue.push_back(number) }
        }
        match waiter.want.lease() {
            Some(lease) => {
                self.leases.get_mut(&lease).expect("it waits under a lease").waiters.insert(number);
            }
            None => *self.leases_in.entry(waiter.want.namespace.clone()).or_default() += 1,
        }
        self.may_delay += waiter.want.may_delay();
        self.due.insert((waiter.deadline, Due::Wait(number)));
        self.waiters.insert(number, waiter);
        number
    }

    pub(crate) fn remove_waiter(&mut self, number: u64) -> Option<Waiter> {
        let waiter = self.waiters.remove(&number)?;
        for key in waiter.want.keys() {
            self.locks.get_mut(&key).expect("an awaited lock is there").queue.retain(|other| *other != number);
            self.tidy(&key);
            self.freed.insert(key);
        }
        match waiter.want.lease() {
            Some(lease) => {
                self.leases.get_mut(&lease).expect("it waits under a lease").waiters.remove(&number);
            }
            None => self.uncount_lease(&waiter.want.namespace),
        }
        self.may_delay -= waiter.want.may_delay();
        self.due.remove(&(waiter.deadline, Due::Wait(number)));
        Some(waiter)
    }

    pub(crate) fn rearm(&mut self, number: u64, deadline: u64) {
        let waiter = self.waiters.get_mut(&number).expect("it waits");
        self.due.remove(&(waiter.deadline, Due::Wait(number)));
        waiter.deadline = deadline;
        self.due.insert((deadline, Due::Wait(number)));
    }

    // ---- records, marks, delays ----

    pub(crate) fn set_record(&mut self, id: RequestId, record: Record) {
        self.remove_record(id);
        if let Some(until) = record.fate.until() {
            self.due.insert((until, Due::Record(id)));
        }
        self.records.insert(id, record);
    }

    pub(crate) fn set_fate(&mut self, id: RequestId, fate: Fate) {
        if let Some(record) = self.records.get(&id).cloned() {
            self.set_record(id, Record { fate, ..record });
        }
    }

    pub(crate) fn remove_record(&mut self, id: RequestId) {
        if let Some(until) = self.records.remove(&id).and_then(|record| record.fate.until()) {
            self.due.remove(&(until, Due::Record(id)));
        }
    }

    pub(crate) fn set_mark(&mut self, client: u64, mark: Mark) {
        self.remove_mark(client);
        self.due.insert((mark.until, Due::Mark(client)));
        self.marks.insert(client, mark);
    }

    pub(crate) fn remove_mark(&mut self, client: u64) {
        if let Some(mark) = self.marks.remove(&client) {
            self.due.remove(&(mark.until, Due::Mark(client)));
        }
    }

    /// Of two delays the longer one counts.
    pub(crate) fn delay(&mut self, key: &LockKey, until: u64) {
        if self.delays.get(key).is_some_and(|delay| delay.until >= until) {
            return;
        }
        self.end_delay(key);
        self.delays_ever += 1;
        let number = self.delays_ever;
        self.due.insert((until, Due::Delay(number, key.clone())));
        self.delays.insert(key.clone(), Delay { until, number });
    }

    pub(crate) fn end_delay(&mut self, key: &LockKey) {
        if let Some(Delay { until, number }) = self.delays.remove(key) {
            self.due.remove(&(until, Due::Delay(number, key.clone())));
            self.freed.insert(key.clone());
        }
    }

    /// Lock-delays that run, and those that may come.
    pub(crate) fn delays_in_sight(&self) -> usize {
        self.delays.len() + self.may_delay
    }
}
