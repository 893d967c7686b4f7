//! Exactly once: what is remembered of requests, and for how long.
//!
//! An acquire's id lives with its waiter or grant, then as a tombstone; one that was refused, as held or at a limit of
//! its namespace, is a tombstone at once, so that a delayed earlier attempt is not granted behind the back of a caller
//! that was told no. (Where these tables themselves are full, a new id cannot be remembered.) Ids below their instance's
//! mark are refused by the mark alone. Both go `REMEMBER_MS` of log time after their last use: a delayed duplicate that
//! was taken before that use carries a `not_after` of at most as much, so it is too late by then.

use super::StateMachine;
use super::rows::{Grant, Instance, Request, RequestState};
use super::validate::limit_reached;
use crate::{Attempt, FencingToken, LeaseId, LogTime, LossReason, REMEMBER_MS, Refusal, RequestId};

impl StateMachine {
    pub(super) fn remember_until(&self) -> LogTime {
        self.now().plus_ms(REMEMBER_MS)
    }

    /// Refuses a request id that is new when there is no room to remember it. One that is known has its room.
    pub(super) fn check_room_for(&self, id: RequestId) -> Result<(), Refusal> {
        if self.tables.requests.contains_key(&id) {
            return Ok(());
        }
        let instances_max = self.bounds.instances_max;
        if !self.tables.instances.contains_key(&id.client) && self.tables.instances.len() >= instances_max {
            return Err(limit_reached("instances_max", instances_max as u64));
        }
        let requests_max = self.bounds.requests_max;
        if self.tables.requests.len() >= requests_max {
            return Err(limit_reached("requests_max", requests_max as u64));
        }
        Ok(())
    }

    /// The instance of this id is heard of: keeps its mark for longer, and raises it to `lowest_unanswered`, below
    /// which tombstones are no longer needed.
    pub(super) fn use_instance(&mut self, client: u64, lowest_unanswered: u64) {
        let known = self.tables.instances.get(&client).copied();
        if known.is_none() && self.tables.instances.len() >= self.bounds.instances_max {
            // A known id of an instance whose mark was forgotten: its own record answers it.
            return;
        }
        let before = known.map_or(0, |instance| instance.mark);
        let mark = before.max(lowest_unanswered);
        self.tables.put_instance(client, Instance { mark, until: self.remember_until() });
        if mark > before {
            self.forget_between(client, before, mark);
        }
    }

    /// Drops the tombstones that a raised mark makes superfluous. Every counter is passed once.
    fn forget_between(&mut self, client: u64, from: u64, to: u64) {
        let range = RequestId { client, counter: from }..RequestId { client, counter: to };
        let ended: Vec<RequestId> = self
            .tables
            .requests
            .range(range)
            .filter(|(_, request)| request.forget_after().is_some())
            .map(|(id, _)| *id)
            .collect();
        for id in ended {
            self.tables.remove_request(id);
        }
    }

    /// The mark of its instance, when that says that this id was answered.
    pub(super) fn answered_mark(&self, id: RequestId) -> Option<u64> {
        let instance = self.tables.instances.get(&id.client)?;
        (id.counter < instance.mark && self.now() <= instance.until).then_some(instance.mark)
    }

    /// A waiter or grant has ended: its id becomes a tombstone, or goes where the mark covers it.
    pub(super) fn end_request(&mut self, id: RequestId, reason: LossReason, token: Option<FencingToken>) {
        let Some(&Request { attempt, body, .. }) = self.tables.requests.get(&id) else { return };
        if self.answered_mark(id).is_some() {
            self.tables.remove_request(id);
        } else {
            self.put_tombstone(id, attempt, body, reason, token);
        }
    }

    /// Replaces attempt and tombstone of a request that neither waits nor holds.
    pub(super) fn put_tombstone(
        &mut self,
        id: RequestId,
        attempt: Attempt,
        body: Option<u64>,
        reason: LossReason,
        token: Option<FencingToken>,
    ) {
        let state = RequestState::Ended { reason, token, until: self.remember_until() };
        self.tables.put_request(id, Request { attempt, body, state });
    }

    /// The grants of a request that are still there, in the order of the acquire.
    pub(super) fn live_grants(&self, id: RequestId) -> impl Iterator<Item = (FencingToken, &Grant)> + '_ {
        let (first, locks) = match self.tables.requests.get(&id).map(|request| &request.state) {
            Some(RequestState::Granted { first, locks, .. }) => (first.0, u64::from(*locks)),
            _ => (0, 0),
        };
        (first..first + locks)
            .map(FencingToken)
            .filter_map(|token| self.tables.grants.get(&token).map(|grant| (token, grant)))
            .filter(move |(_, grant)| grant.request == id)
    }

    /// The lease that the grants of a request hang on.
    pub(super) fn lease_of(&self, id: RequestId) -> Option<LeaseId> {
        self.live_grants(id).next().map(|(_, grant)| grant.lease)
    }
}
