//! What readers see. Reading changes nothing: what is due but not yet expired by an entry is still held.

use std::ops::Bound;

use bytes::Bytes;

use super::StateMachine;
use super::keys::LockKey;
use super::queue::Lock;
use super::rows::{Loss, RequestState};
use crate::{
    Ended, FencingToken, HolderView, Holding, LeaseId, Limits, LockView, LossReason, LossView, Mode, Occupant,
    RequestId, RequestView, SessionGrantView, SessionView, TokenView, WAITERS_LISTED_MAX, WaiterView,
};

impl StateMachine {
    /// Limits in force for a namespace.
    #[must_use]
    pub fn limits(&self, namespace: &str) -> &Limits {
        self.tables.limits(namespace)
    }

    /// One lock with its whole queue; None when it has neither holder nor waiter, lock-delay nor a remembered loss.
    #[must_use]
    pub fn lock(&self, namespace: &str, name: &str) -> Option<LockView> {
        self.lock_head(namespace, name, usize::MAX)
    }

    /// One lock with at most the first `waiters_max` of its queue.
    #[must_use]
    pub fn lock_head(&self, namespace: &str, name: &str, waiters_max: usize) -> Option<LockView> {
        let key = LockKey::new(namespace, name);
        let lock = self.tables.locks.get(&key);
        (lock.is_some() || self.tables.losses.of_lock(&key).is_some()).then(|| self.lock_view(&key, lock, waiters_max))
    }

    /// Who has a lock.
    #[must_use]
    pub fn occupant(&self, namespace: &str, name: &str) -> Occupant {
        let key = LockKey::new(namespace, name);
        let Some(lock) = self.tables.locks.get(&key) else { return Occupant::Nobody };
        match lock.holders.as_slice() {
            [] if lock.delayed => Occupant::Delayed { left_ms: self.delay_left_ms(&key) },
            [] => Occupant::Nobody,
            [token] => self.holding(*token).map_or(Occupant::Several { holders: 1 }, Occupant::One),
            holders => Occupant::Several { holders: holders.len() },
        }
    }

    fn holding(&self, token: FencingToken) -> Option<Holding> {
        let grant = self.tables.grants.get(&token).filter(|grant| grant.mode == Mode::Exclusive)?;
        let lease = self.tables.leases.get(&grant.lease)?;
        Some(Holding {
            token,
            owner: grant.owner.to_string(),
            lease: grant.lease,
            session: lease.session.is_some(),
            lease_grants: lease.grants.as_slice().len(),
            left_ms: self.now().ms_until(lease.deadline),
        })
    }

    /// Length of a lock's queue.
    #[must_use]
    pub fn waiter_count(&self, namespace: &str, name: &str) -> usize {
        self.tables.locks.get(&LockKey::new(namespace, name)).map_or(0, Lock::waiters)
    }

    /// Locks with a holder, a waiter or a lock-delay whose name begins with `prefix`, after the name `after`, in name
    /// order, each with at most [`WAITERS_LISTED_MAX`] waiters.
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
            .map(|(key, lock)| self.lock_view(key, Some(lock), WAITERS_LISTED_MAX))
            .collect()
    }

    /// Milliseconds of log time left of a lease.
    #[must_use]
    pub fn lease_left_ms(&self, lease: LeaseId) -> Option<u64> {
        self.tables.leases.get(&lease).map(|lease| self.now().ms_until(lease.deadline))
    }

    /// Why a lease or session ended, where remembered.
    #[must_use]
    pub fn lease_end(&self, lease: LeaseId) -> Option<LossReason> {
        self.tables.lease_ends.get(lease).map(|end| end.reason)
    }

    /// Whether a token is current.
    #[must_use]
    pub fn check_token(&self, namespace: &str, name: &str, token: FencingToken) -> TokenView {
        let lock = LockKey::new(namespace, name);
        if token.0 == 0 || token.0 >= self.tables.header.next_token {
            return TokenView::Foreign;
        }
        if let Some(grant) = self.tables.grants.get(&token) {
            let left_ms = self.lease_left_ms(grant.lease).unwrap_or(0);
            let current = grant.lock == lock;
            return if current { TokenView::Current { mode: grant.mode, left_ms } } else { TokenView::Foreign };
        }
        match self.tables.losses.of_token(token) {
            Some((lost, _)) if *lost != lock => TokenView::Foreign,
            Some((_, loss)) => TokenView::Past { loss: Some(self.loss_view(loss)) },
            None => TokenView::Past { loss: None },
        }
    }

    /// One session; None when it is not open.
    #[must_use]
    pub fn session(&self, session: LeaseId) -> Option<SessionView> {
        let lease = self.tables.leases.get(&session)?;
        let own = lease.session.as_ref()?;
        let grant = |token: &FencingToken| {
            let grant = self.tables.grants.get(token)?;
            Some(SessionGrantView { name: grant.lock.name().to_owned(), mode: grant.mode, token: *token })
        };
        let upgrades = lease.grants.as_slice().iter().filter(|token| self.tables.upgrade_of(**token).is_some());
        Some(SessionView {
            session,
            namespace: lease.namespace.to_string(),
            owner: own.owner.to_string(),
            metadata: own.metadata.to_string(),
            ttl_ms: lease.ttl_ms,
            left_ms: self.now().ms_until(lease.deadline),
            open_ms: own.since.ms_until(self.now()),
            grants: lease.grants.as_slice().iter().filter_map(grant).collect(),
            waits: own.waits.len() + upgrades.count(),
            forced: lease.forced,
        })
    }

    /// Open sessions of a namespace, after the id `after`, in the order of their ids.
    #[must_use]
    pub fn sessions(&self, namespace: &str, after: Option<LeaseId>, max: usize) -> Vec<SessionView> {
        let Some(found) = self.tables.namespaces.get(namespace) else { return Vec::new() };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let ids = found.sessions.range((from, Bound::Unbounded)).take(max);
        ids.filter_map(|session| self.session(*session)).collect()
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
            RequestState::Held { .. } | RequestState::Told { .. } => RequestView::Unknown,
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
            actor: grant.extras.actor().unwrap_or_default().to_owned(),
            version: grant.extras.version(),
            value: Bytes::copy_from_slice(grant.extras.value()),
        })
    }

    /// Log time left of a lock's delay; 0 without one.
    pub(super) fn delay_left_ms(&self, lock: &LockKey) -> u64 {
        // It still runs at its last moment.
        self.tables.delays.get(lock).map_or(0, |delay| self.now().ms_until(delay.until.plus_ms(1)))
    }

    fn loss_view(&self, loss: &Loss) -> LossView {
        LossView {
            token: loss.token,
            reason: loss.reason,
            note: loss.note.as_deref().unwrap_or_default().to_owned(),
            ago_ms: loss.at.ms_until(self.now()),
        }
    }

    fn lock_view(&self, key: &LockKey, lock: Option<&Lock>, waiters_max: usize) -> LockView {
        let holders = lock.map_or(&[][..], |lock| lock.holders.as_slice());
        LockView {
            namespace: key.namespace().to_owned(),
            name: key.name().to_owned(),
            holders: holders.iter().filter_map(|token| self.holder_view(*token)).collect(),
            waiters: lock.map_or_else(Vec::new, |lock| self.waiter_views(lock, waiters_max)),
            waiter_count: lock.map_or(0, Lock::waiters),
            delay_left_ms: self.delay_left_ms(key),
            last_lost: self.tables.losses.of_lock(key).map(|loss| self.loss_view(loss)),
        }
    }

    fn waiter_views(&self, lock: &Lock, max: usize) -> Vec<WaiterView> {
        let found = lock.queue().filter_map(|(id, mode)| self.tables.waiters.get(&id).map(|waiter| (waiter, mode)));
        (1..)
            .zip(found)
            .take(max)
            .map(|(position, (waiter, mode))| {
                let claim = &waiter.claim;
                let held = claim.converts().and_then(|token| self.tables.grants.get(&token));
                WaiterView {
                    position,
                    request: claim.request,
                    owner: self.tables.owner_of(claim).to_string(),
                    mode,
                    waited_ms: waiter.since.ms_until(self.now()),
                    left_ms: self.now().ms_until(waiter.deadline),
                    lease: self.tables.lease_of_claim(claim),
                    actor: claim.extras.actor().unwrap_or_default().to_owned(),
                    metadata: held.map_or(&claim.metadata, |grant| &grant.metadata).to_string(),
                    converts: claim.converts(),
                }
            })
            .collect()
    }
}
