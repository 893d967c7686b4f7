//! What readers see. Reading changes nothing: what is due but not yet expired by an entry is still held.

use std::ops::Bound;

use super::StateMachine;
use super::keys::LockKey;
use super::queue::Lock;
use super::rows::RequestState;
use crate::{Ended, FencingToken, HolderView, LeaseId, Limits, LockView, RequestId, RequestView, WaiterView};

impl StateMachine {
    /// Limits in force for a namespace.
    #[must_use]
    pub fn limits(&self, namespace: &str) -> &Limits {
        self.tables.limits(namespace)
    }

    /// One lock; None when it has neither holder nor waiter nor a remembered loss.
    #[must_use]
    pub fn lock(&self, namespace: &str, name: &str) -> Option<LockView> {
        let key = LockKey::new(namespace, name);
        let lock = self.tables.locks.get(&key);
        (lock.is_some() || self.tables.losses.contains_key(&key)).then(|| self.lock_view(&key, lock))
    }

    /// Length of a lock's queue.
    #[must_use]
    pub fn waiter_count(&self, namespace: &str, name: &str) -> usize {
        self.tables.locks.get(&LockKey::new(namespace, name)).map_or(0, Lock::waiters)
    }

    /// Locks with a holder or a waiter whose name begins with `prefix`, after the name `after`, in name order.
    #[must_use]
    pub fn locks(&self, namespace: &str, prefix: &str, after: Option<&str>, max: usize) -> Vec<LockView> {
        let first = LockKey::new(namespace, prefix);
        let from = match after.map(|after| LockKey::new(namespace, after)) {
            Some(after) if after >= first => Bound::Excluded(after),
            _ => Bound::Included(first.clone()),
        };
        self.tables
            .locks
            .range((from, Bound::Unbounded))
            .take_while(|(key, _)| key.text().starts_with(first.text()))
            .take(max)
            .map(|(key, lock)| self.lock_view(key, Some(lock)))
            .collect()
    }

    /// Milliseconds of log time left of a lease.
    #[must_use]
    pub fn lease_left_ms(&self, lease: LeaseId) -> Option<u64> {
        self.tables.leases.get(&lease).map(|lease| self.now().ms_until(lease.deadline))
    }

    /// What became of a request. One that was refused, as held or at a limit, has had no effect: it is not
    /// known here.
    #[must_use]
    pub fn request(&self, request: RequestId) -> RequestView {
        let Some(known) = self.tables.requests.get(&request) else { return RequestView::Unknown };
        let attempt = known.attempt;
        match known.state {
            RequestState::Waiting { .. } => RequestView::Waiting { attempt },
            RequestState::Granted { .. } => match self.granted_now(request) {
                Some(granted) => RequestView::Granted { attempt, granted },
                None => RequestView::Unknown,
            },
            RequestState::Held { .. } | RequestState::LimitReached { .. } => RequestView::Unknown,
            RequestState::Ended { reason, token, .. } => RequestView::Ended { attempt, ended: Ended { reason, token } },
        }
    }

    pub(super) fn holder_view(&self, token: FencingToken) -> Option<HolderView> {
        let grant = self.tables.grants.get(&token)?;
        let lease = self.tables.leases.get(&grant.lease)?;
        Some(HolderView {
            token,
            owner: grant.owner.to_string(),
            lease: grant.lease,
            mode: grant.mode,
            held_ms: grant.since.ms_until(self.now()),
            left_ms: self.now().ms_until(lease.deadline),
            metadata: grant.metadata.to_string(),
        })
    }

    fn lock_view(&self, key: &LockKey, lock: Option<&Lock>) -> LockView {
        let holders = lock.map_or(&[][..], |lock| lock.holders.as_slice());
        LockView {
            namespace: key.namespace().to_owned(),
            name: key.name().to_owned(),
            holders: holders.iter().filter_map(|token| self.holder_view(*token)).collect(),
            waiters: lock.map_or_else(Vec::new, |lock| self.waiter_views(lock)),
            last_lost: self.tables.losses.get(key).map(|loss| (loss.reason, loss.token)),
        }
    }

    fn waiter_views(&self, lock: &Lock) -> Vec<WaiterView> {
        let found = lock.queue().filter_map(|(id, mode)| self.tables.waiters.get(&id).map(|waiter| (waiter, mode)));
        (1..)
            .zip(found)
            .map(|(position, (waiter, mode))| WaiterView {
                position,
                request: waiter.claim.request,
                owner: waiter.claim.owner.to_string(),
                mode,
                waited_ms: waiter.since.ms_until(self.now()),
                left_ms: self.now().ms_until(waiter.deadline),
            })
            .collect()
    }
}
