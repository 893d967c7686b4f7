//! The tables: what is stored, and what follows from it.
//!
//! Every change of a stored row goes through a method here that tells the ledger how the row was, and keeps the indexes true.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::sync::Arc;

use super::deadlines::{Deadlines, Item};
use super::keys::{HEADER_KEY, LockKey, RowKey, WaiterId};
use super::lease_ends::LeaseEnds;
use super::ledger::{self, Ledger, TakenRows};
use super::losses::Losses;
use super::queue::Lock;
use super::rows::{Claim, Delay, Extra, Extras, Grant, Header, Instance, Lease, LeaseEnd, Loss, Request, Waiter};
use crate::{FencingToken, LeaseId, LeaseRequest, Limits, LogTime, RequestId, codec};

/// Changed rows that are left for later, when all of them are encoded at once: what some 10 ms are enough for.
const SETTLE_ROWS: usize = 8_192;

/// A namespace that has limits of its own, leases, or waiters.
#[derive(Debug, Default)]
pub(super) struct Namespace {
    pub(super) limits: Option<Box<Limits>>,
    /// Leases, and waiters that will make one.
    pub(super) leases: u64,
    pub(super) sessions: BTreeSet<LeaseId>,
}

/// A task of a session, in the graph of who waits for whom.
pub(super) type Actor = (LeaseId, Box<str>);

/// What an actor takes part with.
#[derive(Debug, Default)]
pub(super) struct ActorUse {
    pub(super) grants: usize,
    pub(super) waits: BTreeSet<WaiterId>,
}

#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) header: Header,
    pub(super) leases: BTreeMap<LeaseId, Lease>,
    pub(super) grants: BTreeMap<FencingToken, Grant>,
    pub(super) waiters: BTreeMap<WaiterId, Waiter>,
    pub(super) requests: BTreeMap<RequestId, Request>,
    pub(super) instances: BTreeMap<u64, Instance>,
    pub(super) losses: Losses,
    pub(super) lease_ends: LeaseEnds,
    pub(super) delays: BTreeMap<LockKey, Delay>,

    // From here on: derived from the above (limits of namespaces excepted).
    pub(super) namespaces: BTreeMap<Arc<str>, Namespace>,
    pub(super) namespaces_limited: usize,
    pub(super) locks: BTreeMap<LockKey, Lock>,
    pub(super) deadlines: Deadlines,
    pub(super) delays_by_number: BTreeMap<u64, LockKey>,
    /// Lock-delays that run or may come of grants and waiters.
    pub(super) lock_delays: usize,
    pub(super) actors: BTreeMap<Actor, ActorUse>,
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
            RowKey::Loss(age) => self.losses.row(*age).map(codec::encode),
            RowKey::LeaseEnds(chunk) => self.lease_ends.chunk(*chunk).as_ref().map(codec::encode),
            RowKey::Delay(lock) => self.delays.get(lock).map(codec::encode),
        }
    }

    // ---- namespaces ----

    /// The shared text of a namespace, one allocation for all that lies in it.
    pub(super) fn intern_namespace(&self, namespace: &str) -> Arc<str> {
        self.namespaces.get_key_value(namespace).map_or_else(|| namespace.into(), |(name, _)| name.clone())
    }

    pub(super) fn put_limits(&mut self, namespace: &str, limits: Limits) {
        let name = self.intern_namespace(namespace);
        let before = self.encoded(&RowKey::Limits(name.clone()));
        self.ledger.note(RowKey::Limits(name.clone()), || before);
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
        self.index_lease(id, &lease);
        let old = self.leases.insert(id, lease);
        assert!(old.is_none(), "lease {id} is new");
        self.ledger.note(RowKey::Lease(id), || None);
    }

    /// The indexes of a lease.
    pub(super) fn index_lease(&mut self, id: LeaseId, lease: &Lease) {
        self.count_lease(&lease.namespace);
        if lease.session.is_some() {
            self.namespaces.entry(lease.namespace.clone()).or_default().sessions.insert(id);
        }
        self.deadlines.insert(lease.deadline, Item::lease(id));
    }

    /// Changes what a renewal changes.
    pub(super) fn renew_lease(&mut self, id: LeaseId, ttl_ms: u64, deadline: LogTime) {
        let lease = self.leases.get_mut(&id).expect("a renewed lease exists");
        self.ledger.note(RowKey::Lease(id), || Some(codec::encode(lease)));
        self.deadlines.replace(Some(lease.deadline), Some(deadline), Item::lease(id));
        lease.ttl_ms = ttl_ms;
        lease.deadline = deadline;
        lease.confirm = false;
    }

    /// One of its grants was ended by force: its next renewal tells.
    pub(super) fn count_forced(&mut self, id: LeaseId) {
        if let Some(lease) = self.leases.get_mut(&id) {
            self.ledger.note(RowKey::Lease(id), || Some(codec::encode(lease)));
            lease.forced += 1;
        }
    }

    pub(super) fn remove_lease(&mut self, id: LeaseId) -> Option<Lease> {
        let lease = self.leases.remove(&id)?;
        self.ledger.note_gone(RowKey::Lease(id), || Some(codec::encode(&lease)));
        self.deadlines.remove(lease.deadline, Item::lease(id));
        if lease.session.is_some()
            && let Some(namespace) = self.namespaces.get_mut(&lease.namespace)
        {
            namespace.sessions.remove(&id);
        }
        self.uncount_lease(&lease.namespace);
        Some(lease)
    }

    // ---- grants and locks ----

    /// The key of a lock in the allocation that the table of locks has already, if it has.
    pub(super) fn intern_lock(&self, lock: LockKey) -> LockKey {
        self.locks.get_key_value(&lock).map_or(lock, |(known, _)| known.clone())
    }

    pub(super) fn insert_grant(&mut self, token: FencingToken, grant: Grant) {
        self.index_grant(token, &grant);
        let old = self.grants.insert(token, grant);
        self.ledger.note(RowKey::Grant(token), || old.as_ref().map(codec::encode));
    }

    /// The indexes of a grant.
    pub(super) fn index_grant(&mut self, token: FencingToken, grant: &Grant) {
        let lock = self.locks.entry(grant.lock.clone()).or_default();
        lock.holders.push(token);
        lock.hold(grant.mode);
        self.leases.get_mut(&grant.lease).expect("a grant hangs on a lease").grants.push(token);
        self.lock_delays += usize::from(grant.extras.lock_delay_ms() > 0);
        if let Some(actor) = grant.extras.actor() {
            self.actors.entry((grant.lease, actor.into())).or_default().grants += 1;
        }
    }

    pub(super) fn remove_grant(&mut self, token: FencingToken) -> Option<Grant> {
        let grant = self.grants.remove(&token)?;
        self.ledger.note_gone(RowKey::Grant(token), || Some(codec::encode(&grant)));
        if let Entry::Occupied(mut lock) = self.locks.entry(grant.lock.clone()) {
            lock.get_mut().holders.remove(token);
            lock.get_mut().let_go(grant.mode);
            if lock.get().is_idle() {
                lock.remove();
            }
        }
        if let Some(lease) = self.leases.get_mut(&grant.lease) {
            lease.grants.remove(token);
        }
        self.lock_delays -= usize::from(grant.extras.lock_delay_ms() > 0);
        if let Some(actor) = grant.extras.actor() {
            self.change_actor((grant.lease, actor.into()), |actor| actor.grants -= 1);
        }
        Some(grant)
    }

    /// Changes the value of a grant.
    pub(super) fn set_value(&mut self, token: FencingToken, version: u64, value: &[u8]) {
        let grant = self.grants.get_mut(&token).expect("a grant whose value is set exists");
        self.ledger.note(RowKey::Grant(token), || Some(codec::encode(grant)));
        grant.extras = Extras::new(Extra { version, value: value.into(), ..grant.extras.to_extra() });
    }

    fn change_actor(&mut self, actor: Actor, change: impl FnOnce(&mut ActorUse)) {
        if let Entry::Occupied(mut entry) = self.actors.entry(actor) {
            change(entry.get_mut());
            if entry.get().grants == 0 && entry.get().waits.is_empty() {
                entry.remove();
            }
        }
    }

    // ---- lock-delays ----

    /// Makes a lock ungrantable until then at least.
    pub(super) fn put_delay(&mut self, lock: LockKey, until: LogTime) {
        if let Some(delay) = self.delays.get_mut(&lock) {
            self.ledger.note(RowKey::Delay(lock), || Some(codec::encode(delay)));
            let before = delay.until;
            delay.until = before.max(until);
            self.deadlines.replace(Some(before), Some(delay.until), Item::Delay(delay.number));
            return;
        }
        let delay = Delay { number: self.header.next_delay, until };
        self.header.next_delay += 1;
        self.index_delay(lock.clone(), delay);
        self.ledger.note(RowKey::Delay(lock.clone()), || None);
        self.delays.insert(lock, delay);
    }

    /// The indexes of a lock-delay.
    pub(super) fn index_delay(&mut self, lock: LockKey, delay: Delay) {
        self.deadlines.insert(delay.until, Item::Delay(delay.number));
        self.locks.entry(lock.clone()).or_default().delayed = true;
        self.delays_by_number.insert(delay.number, lock);
        self.lock_delays += 1;
    }

    pub(super) fn remove_delay(&mut self, lock: &LockKey) {
        let Some(delay) = self.delays.remove(lock) else { return };
        self.ledger.note_gone(RowKey::Delay(lock.clone()), || Some(codec::encode(&delay)));
        self.deadlines.remove(delay.until, Item::Delay(delay.number));
        self.delays_by_number.remove(&delay.number);
        self.lock_delays -= 1;
        if let Some(found) = self.locks.get_mut(lock) {
            found.delayed = false;
            if found.is_idle() {
                self.locks.remove(lock);
            }
        }
    }

    // ---- waiters ----

    pub(super) fn insert_waiter(&mut self, id: WaiterId, waiter: Waiter) {
        self.index_waiter(id, &waiter);
        let old = self.waiters.insert(id, waiter);
        self.ledger.note(RowKey::Waiter(id), || old.as_ref().map(codec::encode));
    }

    /// The indexes of a waiter.
    pub(super) fn index_waiter(&mut self, id: WaiterId, waiter: &Waiter) {
        let claim = &waiter.claim;
        self.deadlines.insert(waiter.deadline, Item::Waiter(id));
        let upgrade = claim.converts().is_some();
        for wanted in &claim.wanted {
            self.locks.entry(wanted.lock.clone()).or_default().enqueue(id, wanted.mode, upgrade);
        }
        self.lock_delays += claim.lock_delays();
        match claim.lease {
            LeaseRequest::Own { .. } => self.count_lease(&claim.namespace),
            LeaseRequest::Session { session } => {
                let session = self.leases.get_mut(&session).and_then(|lease| lease.session.as_mut());
                let session = session.expect("a waiter's session is open");
                session.waits.insert(id);
                session.awaited += u32::try_from(claim.wanted.len()).expect("an acquire names fewer than 2^32 locks");
            }
            LeaseRequest::Convert { .. } => {}
        }
        if let Some(actor) = self.actor_of(claim) {
            self.actors.entry(actor).or_default().waits.insert(id);
        }
    }

    /// The lease that the grants of a claim will hang on, if that is there already.
    pub(super) fn lease_of_claim(&self, claim: &Claim) -> Option<LeaseId> {
        self.lease_of_request(claim.lease)
    }

    pub(super) fn lease_of_request(&self, lease: LeaseRequest) -> Option<LeaseId> {
        match lease {
            LeaseRequest::Own { .. } => None,
            LeaseRequest::Session { session } => Some(session),
            LeaseRequest::Convert { token } => self.grants.get(&token).map(|grant| grant.lease),
        }
    }

    /// Whether a lock hangs on a lease.
    pub(super) fn holds(&self, lease: LeaseId, lock: &LockKey) -> bool {
        let under = self.leases.get(&lease).map_or(&[][..], |lease| lease.grants.as_slice());
        let holders = self.locks.get(lock).map_or(&[][..], |lock| lock.holders.as_slice());
        let fewer = if under.len() < holders.len() { under } else { holders };
        let hangs = |token| self.grants.get(token).is_some_and(|grant| grant.lease == lease && grant.lock == *lock);
        fewer.iter().any(hangs)
    }

    /// Locks that hang on a session, with those that its waiters await.
    pub(super) fn locks_under(&self, session: LeaseId) -> usize {
        let Some(lease) = self.leases.get(&session) else { return 0 };
        let awaited = lease.session.as_ref().map_or(0, |session| session.awaited);
        lease.grants.as_slice().len() + awaited as usize
    }

    /// Who waits, in the graph of who waits for whom.
    pub(super) fn actor_of(&self, claim: &Claim) -> Option<Actor> {
        let actor = claim.extras.actor()?;
        self.lease_of_claim(claim).map(|lease| (lease, actor.into()))
    }

    pub(super) fn set_waiter_deadline(&mut self, id: WaiterId, deadline: LogTime) {
        let waiter = self.waiters.get_mut(&id).expect("a waiter that is re-armed exists");
        self.ledger.note(RowKey::Waiter(id), || Some(codec::encode(waiter)));
        self.deadlines.replace(Some(waiter.deadline), Some(deadline), Item::Waiter(id));
        waiter.deadline = deadline;
    }

    pub(super) fn remove_waiter(&mut self, id: WaiterId) -> Option<Waiter> {
        let waiter = self.waiters.remove(&id)?;
        self.ledger.note_gone(RowKey::Waiter(id), || Some(codec::encode(&waiter)));
        self.deadlines.remove(waiter.deadline, Item::Waiter(id));
        let claim = &waiter.claim;
        if let Some(actor) = self.actor_of(claim) {
            self.change_actor(actor, |actor| {
                actor.waits.remove(&id);
            });
        }
        self.lock_delays -= claim.lock_delays();
        match claim.lease {
            LeaseRequest::Own { .. } => self.uncount_lease(&claim.namespace),
            LeaseRequest::Session { session } => {
                if let Some(session) = self.leases.get_mut(&session).and_then(|lease| lease.session.as_mut()) {
                    session.waits.remove(&id);
                    session.awaited -= u32::try_from(claim.wanted.len()).unwrap_or(u32::MAX);
                }
            }
            LeaseRequest::Convert { .. } => {}
        }
        for wanted in &claim.wanted {
            if let Some(lock) = self.locks.get_mut(&wanted.lock) {
                lock.dequeue(id);
                if lock.is_idle() {
                    self.locks.remove(&wanted.lock);
                }
            }
        }
        Some(waiter)
    }

    /// The waiting request that would convert a grant.
    pub(super) fn upgrade_of(&self, token: FencingToken) -> Option<WaiterId> {
        let lock = &self.grants.get(&token)?.lock;
        let upgrade = self.locks.get(lock)?.upgrade()?;
        self.waiters.get(&upgrade).is_some_and(|waiter| waiter.claim.converts() == Some(token)).then_some(upgrade)
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
        let until = request.forget_after();
        let old = self.requests.insert(id, request);
        self.ledger.note(RowKey::Request(id), || old.as_ref().map(codec::encode));
        let before = old.as_ref().and_then(Request::forget_after);
        self.deadlines.replace(before, until, Item::Request(id));
    }

    pub(super) fn remove_request(&mut self, id: RequestId) {
        let Some(old) = self.requests.remove(&id) else { return };
        self.ledger.note_gone(RowKey::Request(id), || Some(codec::encode(&old)));
        if let Some(until) = old.forget_after() {
            self.deadlines.remove(until, Item::Request(id));
        }
    }

    pub(super) fn put_instance(&mut self, client: u64, instance: Instance) {
        let old = self.instances.insert(client, instance);
        self.ledger.note(RowKey::Instance(client), || old.as_ref().map(codec::encode));
        self.deadlines.replace(old.map(|old| old.until), Some(instance.until), Item::Instance(client));
    }

    pub(super) fn remove_instance(&mut self, client: u64) {
        if let Some(instance) = self.instances.remove(&client) {
            self.ledger.note_gone(RowKey::Instance(client), || Some(codec::encode(&instance)));
            self.deadlines.remove(instance.until, Item::Instance(client));
        }
    }

    // ---- losses ----

    pub(super) fn put_loss(&mut self, lock: LockKey, loss: Loss) {
        self.ledger.note(RowKey::Loss(loss.number), || None);
        if let Some(before) = self.losses.insert(lock, loss) {
            self.remove_loss(before);
        }
    }

    pub(super) fn remove_loss(&mut self, age: u64) {
        if let Some(old) = self.losses.remove(age) {
            self.ledger.note_gone(RowKey::Loss(age), || Some(codec::encode(&old)));
        }
    }

    pub(super) fn put_lease_end(&mut self, lease: LeaseId, end: LeaseEnd) {
        self.remove_lease_end(lease);
        self.note_lease_end(end);
        self.lease_ends.insert(lease, end);
    }

    pub(super) fn remove_lease_end(&mut self, lease: LeaseId) {
        let Some(end) = self.lease_ends.get(lease) else { return };
        self.note_lease_end(end);
        self.lease_ends.remove(lease);
    }

    /// Before the row of this end changes.
    fn note_lease_end(&mut self, end: LeaseEnd) {
        let chunk = LeaseEnds::chunk_of(end);
        self.ledger.note(RowKey::LeaseEnds(chunk), || self.lease_ends.chunk(chunk).as_ref().map(codec::encode));
    }

    // ---- rows and their hash ----

    pub(super) fn count_restored(&mut self, key: &[u8], value: &[u8]) {
        self.ledger.count_restored(key, value);
    }

    /// Hash of every row, header included.
    pub(super) fn state_hash(&mut self) -> u128 {
        let sum = self.settle();
        sum.wrapping_add(ledger::row_hash(HEADER_KEY, &codec::encode(&self.header)))
    }

    /// The same without keeping what it computes.
    pub(super) fn look_at_hash(&self) -> u128 {
        let sum = self.ledger.look(|key| self.encoded(key));
        sum.wrapping_add(ledger::row_hash(HEADER_KEY, &codec::encode(&self.header)))
    }

    /// Brings the sum up to date when much would be left to do at once.
    pub(super) fn settle_many(&mut self) {
        if self.ledger.stale_rows() > SETTLE_ROWS {
            self.settle();
        }
    }

    fn settle(&mut self) -> u128 {
        let mut ledger = std::mem::take(&mut self.ledger);
        let sum = ledger.settle(|key| self.encoded(key));
        self.ledger = ledger;
        sum
    }

    /// Rows that changed since the last call, without the header.
    pub(super) fn take_rows(&mut self) -> TakenRows {
        self.settle();
        self.ledger.take()
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
            .chain(self.losses.ages().map(RowKey::Loss))
            .chain(self.lease_ends.chunks().map(RowKey::LeaseEnds))
            .chain(self.delays.keys().cloned().map(RowKey::Delay))
    }
}
