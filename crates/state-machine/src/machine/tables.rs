//! The tables: what is stored, and what follows from it.
//!
//! Every change of a stored row goes through a method here that first tells the ledger, and keeps the indexes true.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::deadlines::{Deadlines, Item};
use super::keys::{HEADER_KEY, LockKey, RowKey, WaiterId};
use super::ledger::{self, Ledger};
use super::queue::Lock;
use super::rows::{Claim, Grant, Header, Instance, Lease, LeaseEnd, Loss, Request, Waiter};
use crate::{FencingToken, LeaseId, Limits, LogTime, RequestId, codec};

/// A namespace that has limits of its own, leases, or waiters.
#[derive(Debug, Default)]
pub(super) struct Namespace {
    pub(super) limits: Option<Box<Limits>>,
    /// Leases, and waiters that will make one.
    pub(super) leases: u64,
}

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) header: Header,
    pub(super) leases: BTreeMap<LeaseId, Lease>,
    pub(super) grants: BTreeMap<FencingToken, Grant>,
    pub(super) waiters: BTreeMap<WaiterId, Waiter>,
    pub(super) requests: BTreeMap<RequestId, Request>,
    pub(super) instances: BTreeMap<u64, Instance>,
    pub(super) losses: BTreeMap<LockKey, Loss>,
    pub(super) lease_ends: BTreeMap<LeaseId, LeaseEnd>,

    // From here on: derived from the above (limits of namespaces excepted).
    pub(super) namespaces: BTreeMap<Arc<str>, Namespace>,
    pub(super) namespaces_limited: usize,
    pub(super) locks: BTreeMap<LockKey, Lock>,
    pub(super) deadlines: Deadlines,
    pub(super) losses_by_age: BTreeMap<u64, LockKey>,
    pub(super) losses_by_token: BTreeMap<FencingToken, LockKey>,
    pub(super) lease_ends_by_age: BTreeMap<u64, LeaseId>,
    ledger: Ledger,
}

impl Tables {
    pub(super) fn now(&self) -> LogTime {
        self.header.now
    }

    pub(super) fn limits(&self, namespace: &str) -> &Limits {
        self.namespaces.get(namespace).and_then(|n| n.limits.as_deref()).unwrap_or(&self.header.limits)
    }

    /// The encoded value of a row; None when there is no such row.
    pub(super) fn encoded(&self, key: &RowKey) -> Option<Vec<u8>> {
        match key {
            RowKey::Limits(namespace) => self.namespaces.get(namespace)?.limits.as_ref().map(codec::encode),
            RowKey::Lease(lease) => self.leases.get(lease).map(codec::encode),
            RowKey::Grant(token) => self.grants.get(token).map(codec::encode),
            RowKey::Waiter(waiter) => self.waiters.get(waiter).map(codec::encode),
            RowKey::Request(request) => self.requests.get(request).map(codec::encode),
            RowKey::Instance(client) => self.instances.get(client).map(codec::encode),
            RowKey::Loss(lock) => self.losses.get(lock).map(codec::encode),
            RowKey::LeaseEnd(lease) => self.lease_ends.get(lease).map(codec::encode),
        }
    }

    /// Must come before every change of a stored row.
    fn mark(&mut self, key: RowKey) {
        if !self.ledger.mark_again(&key) {
            let hash_before = self.encoded(&key).map(|value| ledger::row_hash(&key.to_bytes(), &value));
            self.ledger.mark_first(key, hash_before);
        }
    }

    // ---- namespaces ----

    /// The shared text of a namespace, one allocation for all that lies in it.
    pub(super) fn intern_namespace(&self, namespace: &str) -> Arc<str> {
        self.namespaces.get_key_value(namespace).map_or_else(|| namespace.into(), |(name, _)| name.clone())
    }

    pub(super) fn put_limits(&mut self, namespace: &str, limits: Limits) {
        let name = self.intern_namespace(namespace);
        self.mark(RowKey::Limits(name.clone()));
        self.restore_limits(name, limits);
    }

    /// `put_limits` without telling the ledger.
    pub(super) fn restore_limits(&mut self, namespace: Arc<str>, limits: Limits) {
        let old = self.namespaces.entry(namespace).or_default().limits.replace(Box::new(limits));
        self.namespaces_limited += usize::from(old.is_none());
    }

    /// Leases of a namespace, with those that its waiters will make.
    pub(super) fn leases_in(&self, namespace: &str) -> u64 {
        self.namespaces.get(namespace).map_or(0, |n| n.leases)
    }

    pub(super) fn count_lease(&mut self, namespace: &Arc<str>) {
        self.namespaces.entry(namespace.clone()).or_default().leases += 1;
    }

    fn uncount_lease(&mut self, namespace: &Arc<str>) {
        let entry = self.namespaces.get_mut(namespace).expect("a namespace with a lease is known");
        entry.leases -= 1;
        if entry.leases == 0 && entry.limits.is_none() {
            self.namespaces.remove(namespace);
        }
    }

    // ---- leases ----

    pub(super) fn insert_lease(&mut self, id: LeaseId, lease: Lease) {
        self.mark(RowKey::Lease(id));
        self.count_lease(&lease.namespace);
        self.deadlines.insert(lease.deadline, Item::lease(id));
        let old = self.leases.insert(id, lease);
        assert!(old.is_none(), "lease {id} is new");
    }

    /// Changes what a renewal changes.
    pub(super) fn renew_lease(&mut self, id: LeaseId, ttl_ms: u64, deadline: LogTime) {
        self.mark(RowKey::Lease(id));
        let lease = self.leases.get_mut(&id).expect("a renewed lease exists");
        self.deadlines.replace(Some(lease.deadline), Some(deadline), Item::lease(id));
        lease.ttl_ms = ttl_ms;
        lease.deadline = deadline;
        lease.confirm = false;
    }

    pub(super) fn remove_lease(&mut self, id: LeaseId) -> Option<Lease> {
        self.mark(RowKey::Lease(id));
        let lease = self.leases.remove(&id)?;
        self.deadlines.remove(lease.deadline, Item::lease(id));
        self.uncount_lease(&lease.namespace);
        Some(lease)
    }

    // ---- grants and locks ----

    /// The key of a lock in the allocation that the table of locks has already, if it has.
    pub(super) fn intern_lock(&self, lock: LockKey) -> LockKey {
        self.locks.get_key_value(&lock).map_or(lock, |(known, _)| known.clone())
    }

    pub(super) fn insert_grant(&mut self, token: FencingToken, grant: Grant) {
        self.mark(RowKey::Grant(token));
        self.index_grant(token, &grant);
        self.grants.insert(token, grant);
    }

    /// The indexes of a grant.
    pub(super) fn index_grant(&mut self, token: FencingToken, grant: &Grant) {
        let lock = self.locks.entry(grant.lock.clone()).or_default();
        lock.holders.push(token);
        lock.load.add(grant.mode);
        self.leases.get_mut(&grant.lease).expect("a grant hangs on a lease").grants.push(token);
    }

    pub(super) fn remove_grant(&mut self, token: FencingToken) -> Option<Grant> {
        self.mark(RowKey::Grant(token));
        let grant = self.grants.remove(&token)?;
        if let Some(lock) = self.locks.get_mut(&grant.lock) {
            lock.holders.remove(token);
            lock.load.remove(grant.mode);
            if lock.is_idle() {
                self.locks.remove(&grant.lock);
            }
        }
        if let Some(lease) = self.leases.get_mut(&grant.lease) {
            lease.grants.remove(token);
        }
        Some(grant)
    }

    // ---- waiters ----

    pub(super) fn insert_waiter(&mut self, id: WaiterId, waiter: Waiter) {
        self.mark(RowKey::Waiter(id));
        self.index_waiter(id, &waiter);
        self.waiters.insert(id, waiter);
    }

    /// The indexes of a waiter.
    pub(super) fn index_waiter(&mut self, id: WaiterId, waiter: &Waiter) {
        self.count_lease(&waiter.claim.namespace);
        self.deadlines.insert(waiter.deadline, Item::Waiter(id));
        for wanted in &waiter.claim.wanted {
            self.locks.entry(wanted.lock.clone()).or_default().enqueue(id, wanted.mode);
        }
    }

    pub(super) fn set_waiter_deadline(&mut self, id: WaiterId, deadline: LogTime) {
        self.mark(RowKey::Waiter(id));
        let waiter = self.waiters.get_mut(&id).expect("a waiter that is re-armed exists");
        self.deadlines.replace(Some(waiter.deadline), Some(deadline), Item::Waiter(id));
        waiter.deadline = deadline;
    }

    pub(super) fn remove_waiter(&mut self, id: WaiterId) -> Option<Waiter> {
        self.mark(RowKey::Waiter(id));
        let waiter = self.waiters.remove(&id)?;
        self.deadlines.remove(waiter.deadline, Item::Waiter(id));
        self.uncount_lease(&waiter.claim.namespace);
        for wanted in &waiter.claim.wanted {
            if let Some(lock) = self.locks.get_mut(&wanted.lock) {
                lock.dequeue(id);
                if lock.is_idle() {
                    self.locks.remove(&wanted.lock);
                }
            }
        }
        Some(waiter)
    }

    /// Whether all locks of a waiter would admit it now.
    pub(super) fn is_grantable(&self, id: WaiterId, claim: &Claim) -> bool {
        claim
            .wanted
            .iter()
            .all(|wanted| self.locks.get(&wanted.lock).is_none_or(|lock| lock.admits_waiter(id, wanted.mode)))
    }

    // ---- requests and instances ----

    pub(super) fn put_request(&mut self, id: RequestId, request: Request) {
        self.mark(RowKey::Request(id));
        let until = request.forget_after();
        let before = self.requests.insert(id, request).as_ref().and_then(Request::forget_after);
        self.deadlines.replace(before, until, Item::Request(id));
    }

    pub(super) fn remove_request(&mut self, id: RequestId) {
        self.mark(RowKey::Request(id));
        if let Some(until) = self.requests.remove(&id).as_ref().and_then(Request::forget_after) {
            self.deadlines.remove(until, Item::Request(id));
        }
    }

    pub(super) fn put_instance(&mut self, client: u64, instance: Instance) {
        self.mark(RowKey::Instance(client));
        let old = self.instances.insert(client, instance);
        self.deadlines.replace(old.map(|old| old.until), Some(instance.until), Item::Instance(client));
    }

    pub(super) fn remove_instance(&mut self, client: u64) {
        self.mark(RowKey::Instance(client));
        if let Some(instance) = self.instances.remove(&client) {
            self.deadlines.remove(instance.until, Item::Instance(client));
        }
    }

    // ---- losses ----

    pub(super) fn put_loss(&mut self, lock: LockKey, loss: Loss) {
        self.remove_loss(&lock);
        self.losses_by_age.insert(loss.number, lock.clone());
        self.losses_by_token.insert(loss.token, lock.clone());
        self.losses.insert(lock, loss);
    }

    pub(super) fn remove_loss(&mut self, lock: &LockKey) {
        self.mark(RowKey::Loss(lock.clone()));
        if let Some(old) = self.losses.remove(lock) {
            self.losses_by_age.remove(&old.number);
            self.losses_by_token.remove(&old.token);
        }
    }

    pub(super) fn put_lease_end(&mut self, lease: LeaseId, end: LeaseEnd) {
        self.remove_lease_end(lease);
        self.lease_ends_by_age.insert(end.number, lease);
        self.lease_ends.insert(lease, end);
    }

    pub(super) fn remove_lease_end(&mut self, lease: LeaseId) {
        self.mark(RowKey::LeaseEnd(lease));
        if let Some(old) = self.lease_ends.remove(&lease) {
            self.lease_ends_by_age.remove(&old.number);
        }
    }

    // ---- rows and their hash ----

    pub(super) fn count_restored(&mut self, key: &[u8], value: &[u8]) {
        self.ledger.count_restored(key, value);
    }

    /// Hash of every row, header included.
    pub(super) fn state_hash(&mut self) -> u128 {
        let mut ledger = std::mem::take(&mut self.ledger);
        let sum = ledger.settle(|key| self.encoded(key));
        self.ledger = ledger;
        sum.wrapping_add(ledger::row_hash(HEADER_KEY, &codec::encode(&self.header)))
    }

    /// Rows that changed since the last call, without the header.
    pub(super) fn take_changes(&mut self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut ledger = std::mem::take(&mut self.ledger);
        let rows = ledger.take(|key| self.encoded(key));
        self.ledger = ledger;
        rows
    }

    /// See [`Ledger::changed_rows`].
    pub(super) fn changed_rows(&self) -> usize {
        self.ledger.changed_rows()
    }

    /// Every key but the header's, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = RowKey> + '_ {
        let limited = self.namespaces.iter().filter(|(_, n)| n.limits.is_some());
        limited
            .map(|(namespace, _)| RowKey::Limits(namespace.clone()))
            .chain(self.leases.keys().copied().map(RowKey::Lease))
            .chain(self.grants.keys().copied().map(RowKey::Grant))
            .chain(self.waiters.keys().copied().map(RowKey::Waiter))
            .chain(self.requests.keys().copied().map(RowKey::Request))
            .chain(self.instances.keys().copied().map(RowKey::Instance))
            .chain(self.losses.keys().cloned().map(RowKey::Loss))
            .chain(self.lease_ends.keys().copied().map(RowKey::LeaseEnd))
    }
}
