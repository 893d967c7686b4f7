//! `Acquire`: at once, in the queue, or refused; once for every request id and attempt.

use std::sync::Arc;

use super::StateMachine;
use super::keys::{LockKey, WaiterId};
use super::ledger::body_hash;
use super::rows::{Capacity, Claim, Request, RequestState, Waiter, Wanted};
use super::{validate, validate::limit_reached};
use crate::{
    Acquire, Ended, EventKind, HELD_HOLDERS_MAX, Held, LeaseRequest, LossReason, Outcome, Queued, Refusal, Wait, codec,
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
        let outcome = match known.state {
            RequestState::Granted { .. } => {
                self.use_known(acquire, Request { attempt: acquire.attempt, ..known.clone() });
                Outcome::Granted(self.granted_now(id).expect("a granted request has a grant"))
            }
            RequestState::Waiting { waiter } => return self.wait_again(acquire, known, waiter).map(Some),
            RequestState::Held { .. } | RequestState::LimitReached { .. } | RequestState::Ended { token: None, .. }
                if later =>
            {
                return Ok(None);
            }
            RequestState::Held { .. } => {
                let state = RequestState::Held { until: self.remember_until() };
                self.use_known(acquire, Request { state, ..known.clone() });
                Outcome::Held(self.held_by(&wanted(acquire)))
            }
            RequestState::LimitReached { capacity, max, .. } => {
                return Err(self.refuse_at_limit(acquire, known.body, capacity, max));
            }
            RequestState::Ended { reason, token, .. } => {
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
                self.end_waiter(waiter, LossReason::Cancelled);
                self.hand_over();
                let state = RequestState::Held { until: self.remember_until() };
                self.use_known(acquire, Request { attempt: acquire.attempt, body: known.body, state });
                return Ok(Outcome::Held(self.held_by(&wanted)));
            };
            self.tables.set_waiter_deadline(waiter, self.now().plus_ms(wait_ms));
            self.use_known(acquire, Request { attempt: acquire.attempt, ..known.clone() });
            self.emit_queued(acquire);
        } else {
            self.use_known(acquire, known.clone());
        }
        let deadline = self.tables.waiters.get(&waiter).expect("a waiting request has a waiter").deadline;
        Ok(Outcome::Queued(Queued { ahead: self.longest_queue(&wanted).saturating_sub(1), deadline }))
    }

    /// A request without an effect so far. Everything is checked before anything changes; only a refusal at a limit
    /// is remembered.
    fn acquire_anew(&mut self, acquire: &Acquire, body: u64) -> Result<Outcome, Refusal> {
        validate::acquire(acquire, self.tables.limits(&acquire.namespace))?;
        let wanted = wanted(acquire);
        self.touch_holders(&wanted);
        self.check_room_for(acquire.request)?;
        let at_once = wanted
            .iter()
            .all(|wanted| self.tables.locks.get(&wanted.lock).is_none_or(|lock| lock.admits_newcomer(wanted.mode)));
        if !at_once && acquire.wait == Wait::Try {
            let state = RequestState::Held { until: self.remember_until() };
            self.use_known(acquire, Request { attempt: acquire.attempt, body: Some(body), state });
            return Ok(Outcome::Held(self.held_by(&wanted)));
        }
        let limits = self.tables.limits(&acquire.namespace);
        let (leases_max, waiters_max) = (limits.leases_max, limits.waiters_per_lock_max);
        if self.tables.leases_in(&acquire.namespace) >= leases_max {
            return Err(self.refuse_at_limit(acquire, Some(body), Capacity::Leases, leases_max));
        }
        if at_once {
            let claim = self.claim(acquire, wanted);
            self.use_instance(acquire.request.client, acquire.lowest_unanswered);
            return Ok(Outcome::Granted(self.grant(claim, acquire.attempt, Some(body), false)));
        }
        if self.longest_queue(&wanted) >= waiters_max {
            return Err(self.refuse_at_limit(acquire, Some(body), Capacity::WaitersPerLock, u64::from(waiters_max)));
        }
        Ok(self.enqueue(acquire, wanted, body))
    }

    /// A refusal that is remembered: neither this attempt nor a delayed earlier one gets anything once there is room
    /// again, as nobody would wait for it; a later one is tried anew.
    fn refuse_at_limit(&mut self, acquire: &Acquire, body: Option<u64>, capacity: Capacity, max: u64) -> Refusal {
        let state = RequestState::LimitReached { capacity, max, until: self.remember_until() };
        self.use_known(acquire, Request { attempt: acquire.attempt, body, state });
        limit_reached(capacity.limit(), max)
    }

    fn enqueue(&mut self, acquire: &Acquire, wanted: Box<[Wanted]>, body: u64) -> Outcome {
        let Wait::For { wait_ms } = acquire.wait else { unreachable!("a try does not queue") };
        let since = self.now();
        let deadline = since.plus_ms(wait_ms);
        let ahead = self.longest_queue(&wanted);
        let id = WaiterId(self.tables.header.next_waiter);
        self.tables.header.next_waiter += 1;
        let claim = self.claim(acquire, wanted);
        self.tables.insert_waiter(id, Waiter { claim, since, deadline });
        let state = RequestState::Waiting { waiter: id };
        self.use_known(acquire, Request { attempt: acquire.attempt, body: Some(body), state });
        self.emit_queued(acquire);
        Outcome::Queued(Queued { ahead, deadline })
    }

    /// Keeps what is known of the request now, and its instance's mark.
    fn use_known(&mut self, acquire: &Acquire, request: Request) {
        self.tables.put_request(acquire.request, request);
        self.use_instance(acquire.request.client, acquire.lowest_unanswered);
    }

    fn claim(&self, acquire: &Acquire, mut wanted: Box<[Wanted]>) -> Claim {
        for wanted in &mut wanted {
            wanted.lock = self.tables.intern_lock(wanted.lock.clone());
        }
        let LeaseRequest::Own { ttl_ms } = acquire.lease;
        let namespace: Arc<str> = self.tables.intern_namespace(&acquire.namespace);
        let (owner, metadata) = (acquire.owner.as_str().into(), acquire.metadata.as_str().into());
        Claim { request: acquire.request, namespace, wanted, ttl_ms, owner, metadata }
    }

    /// Expires the holders of these locks that are due, and hands over what that frees.
    fn touch_holders(&mut self, wanted: &[Wanted]) {
        for wanted in wanted {
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

    /// Who is in the way: of the first lock that does not admit a newcomer now, or else of the first.
    fn held_by(&self, wanted: &[Wanted]) -> Held {
        let blocked = |wanted: &&Wanted| {
            self.tables.locks.get(&wanted.lock).is_some_and(|lock| !lock.admits_newcomer(wanted.mode))
        };
        let key = &wanted.iter().find(blocked).unwrap_or(&wanted[0]).lock;
        let holders = self.tables.locks.get(key).map_or(&[][..], |lock| lock.holders.as_slice());
        let holders = holders.iter().take(HELD_HOLDERS_MAX).filter_map(|token| self.holder_view(*token)).collect();
        let waiters = self.tables.locks.get(key).map_or(0, |lock| lock.waiters());
        let waiters = u32::try_from(waiters).unwrap_or(u32::MAX);
        Held { name: key.name().to_owned(), holders, waiters, by_self: false }
    }

    fn emit_queued(&mut self, acquire: &Acquire) {
        let names = acquire.locks.iter().map(|lock| lock.name.clone()).collect();
        let kind = EventKind::Queued { request: acquire.request, attempt: acquire.attempt, names };
        self.emit(&acquire.namespace, kind);
    }
}

fn wanted(acquire: &Acquire) -> Box<[Wanted]> {
    let key = |name: &str| LockKey::new(&acquire.namespace, name);
    acquire.locks.iter().map(|lock| Wanted { lock: key(&lock.name), mode: lock.mode }).collect()
}

/// What must not change between the sends of one request id. Attempt, deadlines and marks may.
fn hash_of(acquire: &Acquire) -> u64 {
    let Acquire { namespace, locks, owner, metadata, lease, .. } = acquire;
    body_hash(&codec::encode(&(namespace, locks, owner, metadata, lease)))
}
