//! Converting a grant, shared to exclusive or back, without letting go.

use std::sync::Arc;

use super::StateMachine;
use super::named::Named;
use super::rows::{Claim, Grant, Request, RequestState, Told, Wanted};
use super::validate::invalid;
use crate::{
    Acquire, Attempt, Deadlock, DeadlockStep, EventKind, FencingToken, Granted, LossReason, Mode, Outcome, Refusal,
    Wait,
};

impl StateMachine {
    /// A downgrade succeeds at once, whoever waits. An upgrade waits for the other holders only, ahead of the queue.
    pub(super) fn convert(
        &mut self,
        acquire: &Acquire,
        wanted: Box<[Wanted]>,
        token: FencingToken,
        body: u64,
    ) -> Result<Outcome, Refusal> {
        let Wanted { lock: key, mode } = wanted[0].clone();
        match self.named(key.namespace(), key.name(), token)? {
            Named::Held => {}
            Named::Gone(reason) => return Err(Refusal::NotHeld { token, name: key.name().to_owned(), reason }),
        }
        let grant = self.tables.grants.get(&token).expect("a held token has a grant");
        match (grant.mode, mode) {
            (Mode::Shared, Mode::Exclusive) | (Mode::Exclusive, Mode::Shared) => {}
            (Mode::Permits { .. }, _) => {
                return Err(invalid("locks[0].mode", "a grant of permits cannot be converted"));
            }
            _ => return Err(invalid("locks[0].mode", "is how the lock is held already")),
        }
        // With another one the grant would be somebody else's in the graph of who waits for whom, and no search would
        // look whether that closes a cycle.
        if acquire.actor.is_some() && acquire.actor.as_deref() != grant.extras.actor() {
            let actor = grant.extras.actor().unwrap_or("none");
            return Err(invalid("actor", format!("must be absent, or that of the grant, which is {actor}")));
        }
        self.touch_holders(&wanted);
        self.check_room_for(acquire.request)?;
        let lock = self.tables.locks.get(&key).expect("a lock that is held exists");
        if mode == Mode::Shared || lock.admits_upgrade() {
            let claim = self.claim(acquire, wanted);
            self.use_instance(acquire.request.client, acquire.lowest_unanswered);
            return Ok(Outcome::Granted(self.replace_grant(token, &claim, acquire.attempt, Some(body))));
        }
        if acquire.wait == Wait::Try {
            return Ok(self.held(acquire, &wanted, body));
        }
        if let Some(deadlock) = self.second_upgrade(acquire, &wanted[0], token) {
            return self.tell(acquire, Some(body), Told::Deadlock(deadlock));
        }
        let claim = self.claim(acquire, wanted);
        self.wait_anew(acquire, claim, body)
    }

    /// Two shared holders that both wait to be the only one wait for each other, whether they name actors or not.
    fn second_upgrade(&self, acquire: &Acquire, wanted: &Wanted, token: FencingToken) -> Option<Deadlock> {
        let first = self.tables.locks.get(&wanted.lock)?.upgrade()?;
        let first = &self.tables.waiters.get(&first)?.claim;
        let step = |token: FencingToken, actor: Option<&str>| {
            let grant = self.tables.grants.get(&token)?;
            let actor = actor.or_else(|| grant.extras.actor()).unwrap_or_default().to_owned();
            let (owner, name) = (grant.owner.to_string(), grant.lock.name().to_owned());
            Some(DeadlockStep { lease: grant.lease, actor, owner, name })
        };
        let cycle = vec![step(token, acquire.actor.as_deref())?, step(first.converts()?, first.extras.actor())?];
        Some(Deadlock { cycle })
    }

    /// Puts a new grant in the place of another one, on the same lease. The lock is not free in between.
    pub(super) fn replace_grant(
        &mut self,
        replaced: FencingToken,
        claim: &Claim,
        attempt: Attempt,
        body: Option<u64>,
    ) -> Granted {
        let old = self.tables.remove_grant(replaced).expect("a grant that is converted exists");
        self.lose_one(old.request, LossReason::Converted);
        let token = FencingToken(self.tables.header.next_token);
        self.tables.header.next_token += 1;
        let grant = Grant {
            lock: self.tables.intern_lock(old.lock),
            lease: old.lease,
            request: claim.request,
            mode: claim.wanted[0].mode,
            since: self.now(),
            owner: old.owner,
            metadata: old.metadata,
            extras: old.extras,
        };
        let kind = EventKind::Converted {
            name: grant.lock.name().to_owned(),
            replaced,
            token,
            mode: grant.mode,
            lease: grant.lease,
            owner: grant.owner.clone(),
        };
        self.emit(&claim.namespace, kind);
        // What a downgrade leaves room for.
        self.freed.insert(grant.lock.clone());
        let owner = grant.owner.clone();
        self.tables.insert_grant(token, grant);
        self.record_grant(claim, attempt, body, token, owner)
    }

    /// The record of a request that has got its grants, and the word of it.
    pub(super) fn record_grant(
        &mut self,
        claim: &Claim,
        attempt: Attempt,
        body: Option<u64>,
        first: FencingToken,
        owner: Arc<str>,
    ) -> Granted {
        let request = claim.request;
        let locks = u32::try_from(claim.wanted.len()).expect("the locks of an acquire are bounded by a u32");
        let state = RequestState::Granted { first, locks, converted: claim.converts().is_some(), live: locks };
        self.tables.put_request(request, Request { attempt, body, state });
        let granted = self.granted_now(request).expect("the request was granted just now");
        self.emit(&claim.namespace, EventKind::Granted { request, attempt, granted: granted.clone(), owner });
        granted
    }
}
