//! What readers see.

use std::collections::BTreeSet;

use leasehold_state_machine::{
    FencingToken, HELD_HOLDERS_MAX, HolderView, LeaseId, LockView, LogTime, LossReason, LossView, OpenSession,
    RequestId, RequestView, SessionGrantView, SessionView, TokenView, WaiterView,
};

use crate::Model;
use crate::losses::Loss;
use crate::rows::{Fate, Grant, LockKey, Waiter};

impl Model {
    /// Log time.
    #[must_use]
    pub fn now(&self) -> LogTime {
        LogTime(self.now)
    }

    /// Format level in force.
    #[must_use]
    pub fn level(&self) -> u32 {
        self.level
    }

    /// The token that comes next.
    #[must_use]
    pub fn next_token(&self) -> FencingToken {
        FencingToken(self.next_token)
    }

    /// The lease that an acquire makes next.
    #[must_use]
    pub fn next_lease(&self) -> LeaseId {
        LeaseId(self.next_lease.into())
    }

    /// The earliest deadline of anything.
    #[must_use]
    pub fn earliest_deadline(&self) -> Option<LogTime> {
        self.tables.earliest().map(|(deadline, _)| LogTime(*deadline))
    }

    /// Every grant, in token order: its token, its namespace and name.
    pub fn held(&self) -> impl Iterator<Item = (FencingToken, &str, &str)> {
        self.tables.grants.iter().map(|(token, grant)| (FencingToken(*token), &*grant.lock.0, &*grant.lock.1))
    }

    /// A grant.
    #[must_use]
    pub fn grant(&self, token: FencingToken) -> Option<HolderView> {
        self.tables.grants.get(&token.0).map(|grant| self.holder(token.0, grant))
    }

    /// The lock that a token is remembered to have been lost by: its namespace and name.
    #[must_use]
    pub fn lost_lock(&self, token: FencingToken) -> Option<(String, String)> {
        self.tables.losses.lock_of(token.0).cloned()
    }

    /// Tokens of the grants that hang on a lease.
    pub fn tokens_under(&self, lease: LeaseId) -> impl Iterator<Item = FencingToken> {
        self.tables.leases.get(&lease).into_iter().flat_map(|lease| &lease.grants).map(|token| FencingToken(*token))
    }

    /// The command that opened a session which is still open.
    #[must_use]
    pub fn opened_as(&self, session: LeaseId) -> Option<&OpenSession> {
        self.tables.leases.get(&session)?.session.as_ref()
    }

    /// Every lease and session, in the order of their ids.
    pub fn leases(&self) -> impl Iterator<Item = LeaseId> {
        self.tables.leases.keys().copied()
    }

    /// Milliseconds left of a lease.
    #[must_use]
    pub fn lease_left_ms(&self, lease: LeaseId) -> Option<u64> {
        self.tables.leases.get(&lease).map(|lease| lease.deadline.saturating_sub(self.now))
    }

    /// Why a lease ended, where remembered.
    #[must_use]
    pub fn lease_end(&self, lease: LeaseId) -> Option<LossReason> {
        self.tables.lease_ends.reason(lease)
    }

    /// One lock; None when nothing is known of it.
    #[must_use]
    pub fn lock(&self, namespace: &str, name: &str) -> Option<LockView> {
        let key = (namespace.to_owned(), name.to_owned());
        let holders: Vec<HolderView> =
            self.tables.holders(&key).map(|(token, grant)| self.holder(token, grant)).collect();
        let queue = self.tables.queue(&key).zip(1..);
        let waiters: Vec<WaiterView> =
            queue.map(|((_, waiter), position)| self.waiter(waiter, name, position)).collect();
        let last_lost = self.tables.losses.of_lock(&key).map(|loss| self.loss(loss));
        let known =
            !holders.is_empty() || !waiters.is_empty() || last_lost.is_some() || self.tables.delays.contains_key(&key);
        known.then(|| LockView {
            namespace: key.0.clone(),
            name: key.1.clone(),
            waiter_count: waiters.len(),
            holders,
            waiters,
            delay_left_ms: self.delay_left_ms(&key),
            last_lost,
        })
    }

    /// Locks of a namespace with a holder, a waiter or a lock-delay, in name order.
    #[must_use]
    pub fn locks(&self, namespace: &str) -> Vec<LockView> {
        let keys: BTreeSet<&LockKey> = self.tables.locks.keys().chain(self.tables.delays.keys()).collect();
        keys.into_iter().filter(|key| key.0 == namespace).filter_map(|key| self.lock(&key.0, &key.1)).collect()
    }

    pub(crate) fn delay_left_ms(&self, key: &LockKey) -> u64 {
        // It runs until its last millisecond is over.
        self.tables.delays.get(key).map_or(0, |delay| (delay.until + 1).saturating_sub(self.now))
    }

    /// The holders that a refusal lists.
    pub(crate) fn held_by(&self, key: &LockKey) -> Vec<HolderView> {
        let holders = self.tables.holders(key).take(HELD_HOLDERS_MAX);
        holders.map(|(token, grant)| self.holder(token, grant)).collect()
    }

    fn holder(&self, token: u64, grant: &Grant) -> HolderView {
        HolderView {
            token: FencingToken(token),
            owner: grant.owner.clone(),
            lease: grant.lease,
            mode: grant.mode,
            held_ms: self.now - grant.since,
            left_ms: self.lease_left_ms(grant.lease).unwrap_or(0),
            metadata: grant.metadata.clone(),
            actor: grant.actor.clone().unwrap_or_default(),
            version: grant.version,
            value: grant.value.clone(),
        }
    }

    fn waiter(&self, waiter: &Waiter, name: &str, position: u32) -> WaiterView {
        let want = &waiter.want;
        WaiterView {
            position,
            request: want.request,
            owner: want.owner.clone(),
            mode: want.mode_at(name),
            waited_ms: self.now - waiter.since,
            left_ms: waiter.deadline.saturating_sub(self.now),
            lease: want.lease(),
            actor: want.actor.clone().unwrap_or_default(),
            metadata: want.metadata.clone(),
            converts: want.converts().map(FencingToken),
        }
    }

    fn loss(&self, loss: &Loss) -> LossView {
        let Loss { token, reason, note, at } = loss;
        LossView { token: FencingToken(*token), reason: *reason, note: note.clone(), ago_ms: self.now - at }
    }

    /// One session.
    #[must_use]
    pub fn session(&self, id: LeaseId) -> Option<SessionView> {
        let lease = self.tables.leases.get(&id)?;
        let open = lease.session.as_ref()?;
        let grants = lease.grants.iter().map(|token| {
            let grant = &self.tables.grants[token];
            SessionGrantView { name: grant.lock.1.clone(), mode: grant.mode, token: FencingToken(*token) }
        });
        Some(SessionView {
            session: id,
            namespace: open.namespace.clone(),
            owner: open.owner.clone(),
            metadata: open.metadata.clone(),
            ttl_ms: lease.ttl_ms,
            left_ms: lease.deadline.saturating_sub(self.now),
            open_ms: self.now - lease.since,
            grants: grants.collect(),
            waits: lease.waiters.len(),
            forced: lease.forced,
        })
    }

    /// Whether a token is current.
    #[must_use]
    pub fn check_token(&self, namespace: &str, name: &str, token: FencingToken) -> TokenView {
        let key = (namespace.to_owned(), name.to_owned());
        if self.check_authority(&key, token.0).is_err() {
            return TokenView::Foreign;
        }
        match self.tables.grants.get(&token.0) {
            Some(grant) => {
                TokenView::Current { mode: grant.mode, left_ms: self.lease_left_ms(grant.lease).unwrap_or(0) }
            }
            None => {
                let loss = self.tables.losses.of_lock(&key).filter(|loss| loss.token == token.0);
                TokenView::Past { loss: loss.map(|loss| self.loss(loss)) }
            }
        }
    }

    /// What became of a request. One that was refused has had no effect: it is not known here.
    #[must_use]
    pub fn request(&self, id: RequestId) -> RequestView {
        let Some(record) = self.tables.records.get(&id) else { return RequestView::Unknown };
        let attempt = record.attempt;
        match &record.fate {
            Fate::Waiting(_) => RequestView::Waiting { attempt },
            Fate::Granted { .. } => RequestView::Granted { attempt, granted: self.granted(id) },
            Fate::Held { .. } | Fate::Refused { .. } => RequestView::Unknown,
            Fate::Ended { ended, .. } => RequestView::Ended { attempt, ended: *ended },
        }
    }
}
