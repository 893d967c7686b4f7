//! Who may hold together, who may go, and the grant.
//!
//! A waiter may go when, at each of its locks, it fits beside the holders and all waiters ahead of it counted as holding.

use std::collections::BTreeSet;

use leasehold_state_machine::{EventKind, FencingToken, Granted, GrantedLock, LeaseId, LossReason, Mode, RequestId};

use crate::Model;
use crate::rows::{Fate, Grant, Hang, Lease, LockKey, Want};

/// Whether one more in this mode fits beside those.
pub(crate) fn fits(mut others: impl Iterator<Item = Mode>, mode: Mode) -> bool {
    match mode {
        Mode::Exclusive => others.next().is_none(),
        Mode::Shared => others.all(|other| other == Mode::Shared),
        Mode::Permits { permits, limit } => {
            let mut taken = u64::from(permits);
            others.all(|other| match other {
                Mode::Permits { permits, .. } => {
                    taken += u64::from(permits);
                    taken <= u64::from(limit)
                }
                Mode::Exclusive | Mode::Shared => false,
            }) && taken <= u64::from(limit)
        }
    }
}

/// Whether two grants of one lock can be held together.
#[must_use]
pub fn go_together(a: Mode, b: Mode) -> bool {
    fits(std::iter::once(a), b)
}

impl Model {
    /// Whether a request fits at a lock, at its place in the queue (None: at the end).
    pub(crate) fn fits_at(&self, want: &Want, key: &LockKey, place: Option<u64>) -> bool {
        if self.tables.delays.contains_key(key) {
            return false;
        }
        let replaced = want.converts();
        let holders = self.tables.holders(key).filter(|(token, _)| Some(*token) != replaced);
        let ahead = self.tables.queue(key).take_while(|(number, _)| Some(*number) != place);
        // An upgrade stands ahead of all that wait.
        let ahead = ahead.take(if replaced.is_some() { 0 } else { usize::MAX });
        let ahead = ahead.map(|(_, waiter)| waiter.want.mode_at(&key.1));
        fits(holders.map(|(_, grant)| grant.mode).chain(ahead), want.mode_at(&key.1))
    }

    /// Whether nobody is in the way of a request at any of its locks. To convert down needs no room.
    pub(crate) fn may_go(&self, want: &Want, place: Option<u64>) -> bool {
        let downgrade = want.converts().is_some() && want.locks[0].mode == Mode::Shared;
        downgrade || want.keys().all(|key| self.fits_at(want, &key, place))
    }

    /// Waiters at these locks that may go now, in log order.
    fn free_waiters(&self, freed: &BTreeSet<LockKey>) -> Vec<u64> {
        let mut free = Vec::new();
        for key in freed {
            for (number, waiter) in self.tables.queue(key) {
                if !self.fits_at(&waiter.want, key, Some(number)) {
                    // What is full for this one is full for all behind it, who count it as holding.
                    break;
                }
                if self.may_go(&waiter.want, Some(number)) {
                    free.push(number);
                }
            }
        }
        free.sort_unstable();
        free.dedup();
        free
    }

    /// Grants whatever can go, the longest waiting first. One that is dead by now goes without a grant.
    pub(crate) fn hand_over(&mut self) {
        let mut freed = BTreeSet::new();
        while !self.tables.freed.is_empty() {
            freed.append(&mut self.tables.freed);
            for number in self.free_waiters(&freed) {
                self.touch_waiter(number);
                if !self.tables.freed.is_empty() {
                    // Who was behind the dead one may come before those that are left.
                    break;
                }
                let waiter = self.tables.remove_waiter(number).expect("it waits");
                self.give(&waiter.want, true);
                // Whoever goes counted as holding before: that frees nobody.
                self.tables.freed.clear();
            }
        }
    }

    /// Gives a request its locks.
    pub(crate) fn give(&mut self, want: &Want, waited: bool) {
        if let Hang::Convert { token, .. } = want.hang {
            return self.convert(want, token);
        }
        let lease = match want.hang {
            Hang::Own { ttl_ms } => self.lease_of_its_own(want, ttl_ms, waited),
            Hang::Session(lease) | Hang::Convert { lease, .. } => lease,
        };
        let first = self.next_token;
        for lock in &want.locks {
            let grant = Grant {
                lock: (want.namespace.clone(), lock.name.clone()),
                mode: lock.mode,
                lease,
                request: want.request,
                since: self.now,
                owner: want.owner.clone(),
                metadata: want.metadata.clone(),
                actor: want.actor.clone(),
                delay_ms: want.delay_ms,
                version: 0,
                value: want.value.clone(),
                converted: false,
            };
            self.tables.add_grant(self.next_token, grant);
            self.next_token += 1;
        }
        self.tables.set_fate(want.request, Fate::Granted { first });
        self.emit_granted(want);
    }

    fn lease_of_its_own(&mut self, want: &Want, ttl_ms: u64, confirm: bool) -> LeaseId {
        let id = LeaseId(self.next_lease.into());
        self.next_lease += 1;
        self.tables.add_lease(
            id,
            Lease {
                namespace: want.namespace.clone(),
                owner: want.owner.clone(),
                ttl_ms,
                deadline: self.now + ttl_ms,
                confirm,
                since: self.now,
                forced: 0,
                session: None,
                grants: Default::default(),
                waiters: Default::default(),
            },
        );
        id
    }

    /// The same grant in another mode, under a new token.
    fn convert(&mut self, want: &Want, replaced: u64) {
        let mode = want.locks[0].mode;
        let token = self.next_token;
        self.next_token += 1;
        let old = self.tables.grants[&replaced].clone();
        let new = Grant {
            mode,
            request: want.request,
            since: self.now,
            actor: want.actor.clone(),
            converted: true,
            ..old.clone()
        };
        // The new one first, so that the lease does not stand empty.
        self.tables.add_grant(token, new);
        self.tables.remove_grant(replaced);
        let kind = EventKind::Converted {
            name: old.lock.1.clone(),
            replaced: FencingToken(replaced),
            token: FencingToken(token),
            mode,
            lease: old.lease,
            owner: old.owner.as_str().into(),
        };
        self.emit(&want.namespace, kind);
        self.end_request_without_grants(&old, LossReason::Converted);
        self.tables.set_fate(want.request, Fate::Granted { first: token });
        self.emit_granted(want);
    }

    fn emit_granted(&mut self, want: &Want) {
        let attempt = self.tables.records[&want.request].attempt;
        let granted = self.granted(want.request);
        let kind = EventKind::Granted { request: want.request, attempt, granted, owner: want.owner.as_str().into() };
        self.emit(&want.namespace, kind);
    }

    /// What a request holds, with the time left now.
    pub(crate) fn granted(&self, request: RequestId) -> Granted {
        let tokens = self.tokens_of(request);
        let grants = tokens.iter().map(|token| (*token, &self.tables.grants[token]));
        let lease = self.tables.grants[&tokens[0]].lease;
        let row = &self.tables.leases[&lease];
        let locks = grants.map(|(token, grant)| GrantedLock {
            name: grant.lock.1.clone(),
            mode: grant.mode,
            token: FencingToken(token),
        });
        let left_ms = if row.confirm { 0 } else { row.deadline.saturating_sub(self.now) };
        Granted { lease, grants: locks.collect(), left_ms, confirm: row.confirm, forced: row.forced }
    }
}
