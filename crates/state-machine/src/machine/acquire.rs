//! `Acquire`: at once, in the queue, or refused; once for every request id and attempt.

use super::StateMachine;
use super::keys::{LockKey, WaiterId};
use super::ledger::body_hash;
use super::rows::{Claim, Extra, Extras, Request, RequestState, Told, Waiter, Wanted};
use super::{validate, validate::limit_reached};
use crate::{
    Acquire, Ended, EventKind, HELD_HOLDERS_MAX, Held, LeaseId, LeaseRequest, LossReason, Outcome, Queued, Refusal,
    Wait, codec,
};

impl StateMachine {
    pub(super) fn acquire(&mut self, acquire: &Acquire) -> Result<Outcome, Refusal> {
        validate::identity(acquire)?;
        let id = acquire.request;
        self.touch_request(id);
        self.hand_over();
        if let Some(mark) = self.answered_mark(id) {
            return Err(Refusal::AlreadyAnswered { counter: id.counter, mark });
        }
        let body = hash_of(acquire);
        match self.tables.requests.get(&id) {
            Some(known) if known.body.is_some_and(|known| known != body) => Err(Refusal::BodyMismatch),
            Some(known) => {
                let known = known.clone();
                match self.acquire_again(acquire, &known)? {
                    Some(outcome) => Ok(outcome),
                    None => self.acquire_anew(acquire, body),
                }
            }
            None => self.acquire_anew(acquire, body),
        }
    }

    /// A request id that is known: the answer is its effect as it is now. None: it has had none that lasts, and this
    /// later attempt is to be tried like a new request.
    fn acquire_again(&mut self, acquire: &Acquire, known: &Request) -> Result<Option<Outcome>, Refusal> {
        let id = acquire.request;
        let later = acquire.attempt > known.attempt;
        if let RequestState::Ended { reason: LossReason::Cancelled, token, .. } = known.state {
            if later {
                return Ok(None);
            }
            let until = self.remember_until();
            let reason = LossReason::Cancelled;
            let state = RequestState::Ended { reason, token, until };
            self.use_known(acquire, Request { state, ..known.clone() });
            return Ok(Some(Outcome::Ended(Ended { reason, token })));
        }
        if acquire.attempt < known.attempt {
            return Err(Refusal::Superseded { attempt: acquire.attempt, by: known.attempt });
        }
        let outcome = match &known.state {
            RequestState::Granted { .. } => {
                self.use_known(acquire, Request { attempt: acquire.attempt, ..known.clone() });
                Outcome::Granted(self.granted_now(id).expect("a granted request has a grant"))
            }
            RequestState::Waiting { waiter } => return self.wait_again(acquire, known, *waiter).map(Some),
            RequestState::Held { .. } | RequestState::Told { .. } | RequestState::Ended { token: None, .. }
                if later =>
            {
                return Ok(None);
            }
            RequestState::Held { .. } => {
                let state = RequestState::Held { until: self.remember_until() };
                self.use_known(acquire, Request { state, ..known.clone() });
                Outcome::Held(self.held_by(acquire, &wanted(acquire)))
            }
            RequestState::Told { answer, .. } => return self.tell(acquire, known.body, (**answer).clone()).map(Some),
            RequestState::Ended { reason, token, .. } => {
                let (reason, token) = (*reason, *token);
                let state = RequestState::Ended { reason, token, until: self.remember_until() };
                self.use_known(acquire, Request { attempt: acquire.attempt, state, ..known.clone() });
                Outcome::Ended(Ended { reason, token })
            }
        };
        Ok(Some(outcome))
    }

    /// The request waits: a later attempt re-arms its deadline and keeps its place; a later try gives the place up.
    fn wait_again(&mut self, acquire: &Acquire, known: &Request, waiter: WaiterId) -> Result<Outcome, Refusal> {
        let wanted = wanted(acquire);
        if acquire.attempt > known.attempt {
            validate::wait(acquire.wait, self.tables.limits(&acquire.namespace))?;
            let Wait::For { wait_ms } = acquire.wait else {
                self.end_waiter(waiter, LossReason::Cancelled, false);
                self.hand_over();
                let state = RequestState::Held { until: self.remember_until() };
                self.use_known(acquire, Request { attempt: acquire.attempt, body: known.body, state });
                return Ok(Outcome::Held(self.held_by(acquire, &wanted)));
            };
            self.tables.set_waiter_deadline(waiter, self.now().plus_ms(wait_ms));
            self.use_known(acquire, Request { attempt: acquire.attempt, ..known.clone() });
            self.emit_queued(acquire, waiter);
        } else {
            self.use_known(acquire, known.clone());
        }
        let deadline = self.tables.waiters.get(&waiter).expect("a waiting request has a waiter").deadline;
        Ok(Outcome::Queued(Queued { ahead: self.longest_queue(&wanted).saturating_sub(1), deadline }))
    }

    /// A request without an effect so far. Everything is checked before anything changes; of a refusal only what another
    /// time might answer otherwise is remembered.
    fn acquire_anew(&mut self, acquire: &Acquire, body: u64) -> Result<Outcome, Refusal> {
        validate::acquire(acquire, self.tables.limits(&acquire.namespace))?;
        let wanted = wanted(acquire);
        let session = match acquire.lease {
            LeaseRequest::Convert { token } => return self.convert(acquire, wanted, token, body),
            LeaseRequest::Session { session } => Some(session),
            LeaseRequest::Own { .. } => None,
        };
        if let Some(session) = session {
            self.touch_lease(session);
        }
        self.touch_holders(&wanted);
        self.check_room_for(acquire.request)?;
        if let Some(session) = session {
            match self.check_session(session, acquire) {
                Err(refusal @ Refusal::NoSession { .. }) => {
                    return self.tell(acquire, Some(body), Told::Refused(refusal));
                }
                checked => checked?,
            }
        }
        if let Some(refusal) = self.limit_conflict(&wanted) {
            return self.tell(acquire, Some(body), Told::Refused(refusal));
        }
        let at_once = wanted
            .iter()
            .all(|wanted| self.tables.locks.get(&wanted.lock).is_none_or(|lock| lock.admits_newcomer(wanted.mode)));
        if !at_once && acquire.wait == Wait::Try {
            return Ok(self.held(acquire, &wanted, body));
        }
        if let Some(refusal) = self.full(acquire, session, wanted.len()) {
            return self.tell(acquire, Some(body), Told::Refused(refusal));
        }
        let claim = self.claim(acquire, wanted);
        if at_once {
            self.use_instance(acquire.request.client, acquire.lowest_unanswered);
            return Ok(Outcome::Granted(self.grant(claim, acquire.attempt, Some(body), false)));
        }
        self.wait_anew(acquire, claim, body)
    }

    /// A try that is refused. An ordinary answer.
    pub(super) fn held(&mut self, acquire: &Acquire, wanted: &[Wanted], body: u64) -> Outcome {
        let state = RequestState::Held { until: self.remember_until() };
        self.use_known(acquire, Request { attempt: acquire.attempt, body: Some(body), state });
        Outcome::Held(self.held_by(acquire, wanted))
    }

    /// Queues, unless there is no room for it or it would close a cycle of waits.
    pub(super) fn wait_anew(&mut self, acquire: &Acquire, claim: Claim, body: u64) -> Result<Outcome, Refusal> {
        let waiters_max = self.tables.limits(&acquire.namespace).waiters_per_lock_max;
        if self.longest_queue(&claim.wanted) >= waiters_max {
            let refusal = limit_reached("waiters_per_lock_max", u64::from(waiters_max));
            return self.tell(acquire, Some(body), Told::Refused(refusal));
        }
        if let Some(deadlock) = self.tables.deadlock(&claim) {
            return self.tell(acquire, Some(body), Told::Deadlock(deadlock));
        }
        Ok(self.enqueue(acquire, claim, body))
    }

    /// An answer that is remembered: neither this attempt nor a delayed earlier one gets anything once things have
    /// changed, as nobody would wait for it; a later one is tried anew.
    pub(super) fn tell(&mut self, acquire: &Acquire, body: Option<u64>, answer: Told) -> Result<Outcome, Refusal> {
        let state = RequestState::Told { answer: Box::new(answer.clone()), until: self.remember_until() };
        self.use_known(acquire, Request { attempt: acquire.attempt, body, state });
        match answer {
            Told::Refused(refusal) => Err(refusal),
            Told::Deadlock(deadlock) => Ok(Outcome::Deadlock(deadlock)),
        }
    }

    fn check_session(&self, session: LeaseId, acquire: &Acquire) -> Result<(), Refusal> {
        let Some(lease) = self.tables.leases.get(&session).filter(|lease| lease.session.is_some()) else {
            return Err(Refusal::NoSession { session, reason: self.lease_end(session) });
        };
        if *lease.namespace != *acquire.namespace {
            return Err(validate::invalid("session", format!("was opened in another namespace, {}", lease.namespace)));
        }
        Ok(())
    }

    /// The first lock whose limit of permits the request contradicts.
    pub(super) fn limit_conflict(&self, wanted: &[Wanted]) -> Option<Refusal> {
        wanted.iter().find_map(|wanted| {
            let limit = self.tables.locks.get(&wanted.lock)?.conflicting_limit(wanted.mode)?;
            let (name, asked) = (wanted.lock.name().to_owned(), wanted.mode.limit()?);
            Some(Refusal::LimitConflict { name, limit, asked })
        })
    }

    /// The first limit that leaves no room for it, whether it holds or waits.
    fn full(&self, acquire: &Acquire, session: Option<LeaseId>, locks: usize) -> Option<Refusal> {
        let limits = self.tables.limits(&acquire.namespace);
        match session {
            None if self.tables.leases_in(&acquire.namespace) >= limits.leases_max => {
                return Some(limit_reached("leases_max", limits.leases_max));
            }
            Some(session) if self.tables.locks_under(session) + locks > limits.locks_per_lease_max as usize => {
                return Some(limit_reached("locks_per_lease_max", u64::from(limits.locks_per_lease_max)));
            }
            _ => {}
        }
        let delays_max = self.bounds.lock_delays_max;
        let delays = if acquire.lock_delay_ms == 0 { 0 } else { locks };
        (delays > 0 && self.tables.lock_delays + delays > delays_max)
            .then(|| limit_reached("lock_delays_max", delays_max as u64))
    }

    fn enqueue(&mut self, acquire: &Acquire, claim: Claim, body: u64) -> Outcome {
        let Wait::For { wait_ms } = acquire.wait else { unreachable!("a try does not queue") };
        let since = self.now();
        let deadline = since.plus_ms(wait_ms);
        let ahead = if claim.converts().is_some() { 0 } else { self.longest_queue(&claim.wanted) };
        let id = WaiterId(self.tables.header.next_waiter);
        self.tables.header.next_waiter += 1;
        self.tables.insert_waiter(id, Waiter { claim, since, deadline });
        let state = RequestState::Waiting { waiter: id };
        self.use_known(acquire, Request { attempt: acquire.attempt, body: Some(body), state });
        self.emit_queued(acquire, id);
        Outcome::Queued(Queued { ahead, deadline })
    }

    /// Keeps what is known of the request now, and its instance's mark.
    fn use_known(&mut self, acquire: &Acquire, request: Request) {
        self.tables.put_request(acquire.request, request);
        self.use_instance(acquire.request.client, acquire.lowest_unanswered);
    }

    pub(super) fn claim(&self, acquire: &Acquire, mut wanted: Box<[Wanted]>) -> Claim {
        for wanted in &mut wanted {
            wanted.lock = self.tables.intern_lock(wanted.lock.clone());
        }
        let mut owner = acquire.owner.as_str();
        let mut actor = acquire.actor.as_deref();
        match acquire.lease {
            LeaseRequest::Session { session } if owner.is_empty() => {
                let session = self.tables.leases.get(&session).and_then(|lease| lease.session.as_ref());
                owner = session.map_or(owner, |session| &session.owner);
            }
            LeaseRequest::Convert { token } if actor.is_none() => {
                actor = self.tables.grants.get(&token).and_then(|grant| grant.extras.actor());
            }
            LeaseRequest::Own { .. } | LeaseRequest::Session { .. } | LeaseRequest::Convert { .. } => {}
        }
        Claim {
            request: acquire.request,
            namespace: self.tables.intern_namespace(&acquire.namespace),
            wanted,
            lease: acquire.lease,
            owner: owner.into(),
            metadata: acquire.metadata.as_str().into(),
            extras: Extras::new(Extra {
                actor: actor.map(Into::into),
                lock_delay_ms: acquire.lock_delay_ms,
                version: 0,
                value: acquire.value.as_ref().into(),
            }),
        }
    }

    /// Expires the holders and lock-delays of these locks that are due, and hands over what that frees.
    pub(super) fn touch_holders(&mut self, wanted: &[Wanted]) {
        // Mostly so: a lock may have very many holders.
        if self.nothing_due() {
            return;
        }
        for wanted in wanted {
            self.touch_delay(&wanted.lock);
            let Some(lock) = self.tables.locks.get(&wanted.lock) else { continue };
            for token in lock.holders.as_slice().to_vec() {
                self.touch_grant(token);
            }
        }
        self.hand_over();
    }

    /// The longest of the queues of these locks.
    fn longest_queue(&self, wanted: &[Wanted]) -> u32 {
        let waiters = |wanted: &Wanted| self.tables.locks.get(&wanted.lock).map_or(0, |lock| lock.waiters());
        wanted.iter().map(waiters).max().map_or(0, |length| u32::try_from(length).unwrap_or(u32::MAX))
    }

    /// Who is in the way: of the first lock that does not admit the request now, or else of the first.
    pub(super) fn held_by(&self, acquire: &Acquire, wanted: &[Wanted]) -> Held {
        let asking = self.tables.lease_of_request(acquire.lease);
        let blocked = |wanted: &&Wanted| {
            self.tables.locks.get(&wanted.lock).is_some_and(|lock| !lock.admits_newcomer(wanted.mode))
        };
        let key = &wanted.iter().find(blocked).unwrap_or(&wanted[0]).lock;
        let lock = self.tables.locks.get(key);
        let tokens = lock.map_or(&[][..], |lock| lock.holders.as_slice());
        let waiters = lock.map_or(0, |lock| lock.waiters());
        Held {
            name: key.name().to_owned(),
            holders: tokens.iter().take(HELD_HOLDERS_MAX).filter_map(|token| self.holder_view(*token)).collect(),
            waiters: u32::try_from(waiters).unwrap_or(u32::MAX),
            by_self: asking.is_some_and(|lease| self.tables.holds(lease, key)),
            delay_left_ms: self.delay_left_ms(key),
        }
    }

    fn emit_queued(&mut self, acquire: &Acquire, waiter: WaiterId) {
        let claim = &self.tables.waiters.get(&waiter).expect("a request that queues has a waiter").claim;
        let kind = EventKind::Queued {
            request: acquire.request,
            attempt: acquire.attempt,
            locks: acquire.locks.clone(),
            owner: self.tables.owner_of(claim),
            lease: self.tables.lease_of_claim(claim),
        };
        self.emit(&acquire.namespace, kind);
    }
}

pub(super) fn wanted(acquire: &Acquire) -> Box<[Wanted]> {
    let key = |name: &str| LockKey::new(&acquire.namespace, name);
    acquire.locks.iter().map(|lock| Wanted { lock: key(&lock.name), mode: lock.mode }).collect()
}

/// What must not change between the sends of one request id. Attempt, deadlines and marks may.
fn hash_of(acquire: &Acquire) -> u64 {
    let Acquire { namespace, locks, owner, metadata, lease, actor, lock_delay_ms, value, .. } = acquire;
    body_hash(&codec::encode(&(namespace, locks, owner, metadata, lease, actor, lock_delay_ms, value)))
}
