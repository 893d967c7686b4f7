//! Acquire: what is known of its id decides first; what is new is tried, queued or refused.

use leasehold_state_machine::{
    Acquire, EventKind, FencingToken, Held, LeaseId, LeaseRequest, LogTime, LossReason, Mode, Outcome, Queued, Refusal,
    Wait,
};

use crate::check::is_bad_wait;
use crate::requests::body_of;
use crate::rows::{Fate, Hang, LockKey, Waiter, Want};
use crate::{Model, invalid, limit_reached};

impl Model {
    pub(crate) fn acquire(&mut self, acquire: &Acquire) -> Outcome {
        let id = acquire.request;
        if id.counter == 0 {
            return invalid("request_id.counter");
        }
        if acquire.attempt == 0 {
            return invalid("attempt");
        }
        if acquire.lowest_unanswered > id.counter {
            return invalid("lowest_unanswered");
        }
        self.touch_request(id);
        if let Some(mark) = self.mark_above(id) {
            return Outcome::Refused(Refusal::AlreadyAnswered { counter: id.counter, mark });
        }
        if self.tables.records.contains_key(&id) { self.acquire_known(acquire) } else { self.acquire_new(acquire) }
    }

    fn acquire_known(&mut self, acquire: &Acquire) -> Outcome {
        let id = acquire.request;
        let record = self.tables.records[&id].clone();
        if record.body.as_ref().is_some_and(|body| *body != body_of(acquire)) {
            return Outcome::Refused(Refusal::BodyMismatch);
        }
        let cancelled = matches!(&record.fate, Fate::Ended { ended, .. } if ended.reason == LossReason::Cancelled);
        if acquire.attempt < record.attempt && !cancelled {
            return Outcome::Refused(Refusal::Superseded { attempt: acquire.attempt, by: record.attempt });
        }
        let later = acquire.attempt > record.attempt;
        let attempt = record.attempt.max(acquire.attempt);
        let until = self.remember_until();
        match record.fate {
            Fate::Waiting(number) => self.wait_on(acquire, number, later),
            Fate::Granted { .. } => {
                self.put_record(id, attempt, record.body, record.fate);
                self.hear_of(id.client, acquire.lowest_unanswered);
                Outcome::Granted(self.granted(id))
            }
            Fate::Held { .. } | Fate::Refused { .. } if later => self.acquire_new(acquire),
            Fate::Held { .. } => self.tell_held(acquire),
            Fate::Refused { with, .. } => self.refuse_for_good(acquire, with),
            Fate::Ended { ended, .. } if later && (cancelled || ended.token.is_none()) => self.acquire_new(acquire),
            Fate::Ended { ended, .. } => {
                self.put_record(id, attempt, record.body, Fate::Ended { ended, until });
                self.hear_of(id.client, acquire.lowest_unanswered);
                Outcome::Ended(ended)
            }
        }
    }

    /// One more send of a request that waits: a later one waits anew in its old place, or gives up as a try.
    fn wait_on(&mut self, acquire: &Acquire, number: u64, later: bool) -> Outcome {
        if later {
            match acquire.wait {
                Wait::Try => {
                    self.end_wait(number, LossReason::Cancelled, false);
                    self.hand_over();
                    return self.tell_held(acquire);
                }
                Wait::For { wait_ms } if is_bad_wait(wait_ms, self.limits_of(&acquire.namespace)) => {
                    return invalid("wait_ms");
                }
                Wait::For { wait_ms } => {
                    self.tables.rearm(number, self.now + wait_ms);
                    self.put_record(acquire.request, acquire.attempt, Some(body_of(acquire)), Fate::Waiting(number));
                    self.emit_queued(acquire, number);
                }
            }
        }
        self.hear_of(acquire.request.client, acquire.lowest_unanswered);
        let waiter = &self.tables.waiters[&number];
        let others = self.longest_queue(&waiter.want) - 1;
        Outcome::Queued(Queued { ahead: others, deadline: LogTime(waiter.deadline) })
    }

    fn acquire_new(&mut self, acquire: &Acquire) -> Outcome {
        if let Some(refused) = self.refuse_bad(&self.check_acquire(acquire)) {
            return refused;
        }
        if let LeaseRequest::Convert { token } = acquire.lease {
            self.touch_token(token.0);
            if let Err(refused) = self.resolve(acquire) {
                return refused;
            }
        }
        if let LeaseRequest::Session { session } = acquire.lease {
            self.touch_lease(session);
        }
        for lock in &acquire.locks {
            self.touch_lock(&(acquire.namespace.clone(), lock.name.clone()));
        }
        self.hand_over();
        if let Some(refused) = self.no_room(acquire.request) {
            return refused;
        }
        let want = match self.resolve(acquire) {
            Ok(want) => want,
            // A session may be opened yet, and must not let an attempt in that was told "no session". A token that is not
            // held never will be: that refusal needs no memory.
            Err(refused @ Outcome::Refused(Refusal::NoSession { .. })) => {
                return self.refuse_for_good(acquire, refused);
            }
            Err(refused) => return refused,
        };
        if let Some(refused) = self.limit_conflict(&want) {
            return self.refuse_for_good(acquire, refused);
        }
        let free = self.may_go(&want, None);
        if !free && acquire.wait == Wait::Try {
            return self.tell_held(acquire);
        }
        let refused = self.at_capacity(&want).or_else(|| if free { None } else { self.may_not_queue(&want) });
        if let Some(refused) = refused {
            return self.refuse_for_good(acquire, refused);
        }
        self.admit(acquire, want, free)
    }

    /// Grants or queues a request that nothing speaks against.
    fn admit(&mut self, acquire: &Acquire, want: Want, free: bool) -> Outcome {
        let id = acquire.request;
        let ahead = if want.converts().is_some() { 0 } else { self.longest_queue(&want) };
        self.put_record(id, acquire.attempt, Some(body_of(acquire)), Fate::Waiting(0));
        self.hear_of(id.client, acquire.lowest_unanswered);
        if free {
            self.give(&want, false);
            return Outcome::Granted(self.granted(id));
        }
        let Wait::For { wait_ms } = acquire.wait else { unreachable!("a try does not wait") };
        let deadline = self.now + wait_ms;
        let is_upgrade = want.converts().is_some();
        let number = self.tables.add_waiter(Waiter { want, since: self.now, deadline }, is_upgrade);
        self.tables.set_fate(id, Fate::Waiting(number));
        self.emit_queued(acquire, number);
        Outcome::Queued(Queued { ahead, deadline: LogTime(deadline) })
    }

    /// What the request asks for, as far as the request alone says it.
    fn asked(acquire: &Acquire) -> Want {
        Want {
            request: acquire.request,
            namespace: acquire.namespace.clone(),
            locks: acquire.locks.clone(),
            owner: acquire.owner.clone(),
            metadata: acquire.metadata.clone(),
            actor: acquire.actor.clone(),
            delay_ms: acquire.lock_delay_ms,
            value: acquire.value.clone(),
            hang: match acquire.lease {
                LeaseRequest::Own { ttl_ms } => Hang::Own { ttl_ms },
                LeaseRequest::Session { session } => Hang::Session(session),
                LeaseRequest::Convert { token } => Hang::Convert { token: token.0, lease: LeaseId::default() },
            },
        }
    }

    /// The same with its session or its grant looked up.
    fn resolve(&self, acquire: &Acquire) -> Result<Want, Outcome> {
        let mut want = Self::asked(acquire);
        match want.hang {
            Hang::Own { .. } => {}
            Hang::Session(session) => {
                let Some(lease) = self.tables.leases.get(&session).filter(|lease| lease.session.is_some()) else {
                    let reason = self.tables.lease_ends.reason(session);
                    return Err(Outcome::Refused(Refusal::NoSession { session, reason }));
                };
                if lease.namespace != acquire.namespace {
                    return Err(invalid("session"));
                }
                if want.owner.is_empty() {
                    want.owner.clone_from(&lease.owner);
                }
            }
            Hang::Convert { token, .. } => self.resolve_convert(&mut want, token)?,
        }
        Ok(want)
    }

    fn resolve_convert(&self, want: &mut Want, token: u64) -> Result<(), Outcome> {
        let key = (want.namespace.clone(), want.locks[0].name.clone());
        self.check_authority(&key, token)?;
        let Some(grant) = self.tables.grants.get(&token) else {
            let (token, name, reason) = (FencingToken(token), key.1.clone(), self.why_lost(&key, token));
            return Err(Outcome::Refused(Refusal::NotHeld { token, name, reason }));
        };
        if grant.mode == want.locks[0].mode || matches!(grant.mode, Mode::Permits { .. }) {
            return Err(invalid("locks[0].mode"));
        }
        if want.actor.is_some() && want.actor != grant.actor {
            return Err(invalid("actor"));
        }
        want.owner.clone_from(&grant.owner);
        want.metadata.clone_from(&grant.metadata);
        want.actor.clone_from(&grant.actor);
        want.hang = Hang::Convert { token, lease: grant.lease };
        Ok(())
    }

    /// Permits of another limit than the lock's holders and waiters have.
    fn limit_conflict(&self, want: &Want) -> Option<Outcome> {
        for lock in &want.locks {
            let Mode::Permits { limit: asked, .. } = lock.mode else { continue };
            let key = (want.namespace.clone(), lock.name.clone());
            let holders = self.tables.holders(&key).map(|(_, grant)| grant.mode);
            let waiters = self.tables.queue(&key).map(|(_, waiter)| waiter.want.mode_at(&key.1));
            for mode in holders.chain(waiters) {
                if let Mode::Permits { limit, .. } = mode
                    && limit != asked
                {
                    let name = lock.name.clone();
                    return Some(Outcome::Refused(Refusal::LimitConflict { name, limit, asked }));
                }
            }
        }
        None
    }

    /// Capacities that a grant needs, now or later. A convert needs none.
    fn at_capacity(&self, want: &Want) -> Option<Outcome> {
        let limits = self.limits_of(&want.namespace);
        match want.hang {
            Hang::Own { .. } if self.tables.leases_in(&want.namespace) >= limits.leases_max => {
                return Some(limit_reached("leases_max", limits.leases_max));
            }
            Hang::Session(session) => {
                let lease = &self.tables.leases[&session];
                let waiters = lease.waiters.iter().map(|number| &self.tables.waiters[number].want);
                // The lock of an upgrade is there with the grant that it converts.
                let awaited = waiters.filter(|want| want.converts().is_none()).map(|want| want.locks.len());
                let locks = lease.grants.len() + awaited.sum::<usize>() + want.locks.len();
                let max = u64::from(limits.locks_per_lease_max);
                if locks as u64 > max {
                    return Some(limit_reached("locks_per_lease_max", max));
                }
            }
            Hang::Own { .. } | Hang::Convert { .. } => {}
        }
        let max = self.bounds.lock_delays_max;
        let over = want.delay_ms > 0 && self.tables.delays_in_sight() + want.locks.len() > max;
        over.then(|| limit_reached("lock_delays_max", max as u64))
    }

    fn may_not_queue(&self, want: &Want) -> Option<Outcome> {
        if let Some(rival) = self.rival_upgrade(want) {
            return Some(Outcome::Deadlock(rival));
        }
        let max = self.limits_of(&want.namespace).waiters_per_lock_max;
        if self.longest_queue(want) >= max {
            return Some(limit_reached("waiters_per_lock_max", max.into()));
        }
        self.deadlock(want).map(Outcome::Deadlock)
    }

    /// This attempt has its answer, and those before it have it too.
    fn refuse_for_good(&mut self, acquire: &Acquire, refused: Outcome) -> Outcome {
        let fate = Fate::Refused { with: refused.clone(), until: self.remember_until() };
        self.put_record(acquire.request, acquire.attempt, Some(body_of(acquire)), fate);
        self.hear_of(acquire.request.client, acquire.lowest_unanswered);
        refused
    }

    fn tell_held(&mut self, acquire: &Acquire) -> Outcome {
        let fate = Fate::Held { until: self.remember_until() };
        self.put_record(acquire.request, acquire.attempt, Some(body_of(acquire)), fate);
        self.hear_of(acquire.request.client, acquire.lowest_unanswered);
        Outcome::Held(self.in_the_way(acquire))
    }

    /// What stands in the way now. If nothing does any more (a repeated answer), the first lock.
    fn in_the_way(&self, acquire: &Acquire) -> Held {
        let want = Self::asked(acquire);
        let keys: Vec<LockKey> = want.keys().collect();
        let key = keys.iter().find(|key| !self.fits_at(&want, key, None)).unwrap_or(&keys[0]);
        let asks = match acquire.lease {
            LeaseRequest::Own { .. } => None,
            LeaseRequest::Session { session } => Some(session),
            LeaseRequest::Convert { token } => self.tables.grants.get(&token.0).map(|grant| grant.lease),
        };
        Held {
            name: key.1.clone(),
            holders: self.held_by(key),
            waiters: self.tables.queue_length(key) as u32,
            by_self: self.tables.holders(key).any(|(_, grant)| Some(grant.lease) == asks),
            delay_left_ms: self.delay_left_ms(key),
        }
    }

    fn longest_queue(&self, want: &Want) -> u32 {
        want.keys().map(|key| self.tables.queue_length(&key)).max().unwrap_or(0) as u32
    }

    fn emit_queued(&mut self, acquire: &Acquire, number: u64) {
        let want = self.tables.waiters[&number].want.clone();
        let lease = want.lease();
        let kind = EventKind::Queued {
            request: want.request,
            attempt: acquire.attempt,
            locks: want.locks,
            owner: want.owner.into(),
            lease,
        };
        self.emit(&want.namespace, kind);
    }
}
