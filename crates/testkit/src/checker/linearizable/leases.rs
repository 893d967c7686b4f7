//! What the clients' histories say about leases and cancels, looked up once for all locks.

use std::collections::BTreeMap;

use leasehold_state_machine::RequestId;

use super::super::facts::{Facts, SeenLease};
use crate::clock::Moment;
use crate::history::{Call, Record, Response};

/// What is known of one lease or session.
#[derive(Default)]
pub(super) struct OfLease<'a> {
    /// It lives until then at least, once it has begun.
    until: Option<Moment>,
    /// From when on somebody may have closed it without knowing.
    may_be_closed: Option<Moment>,
    /// Calls that closed it.
    pub(super) closed: Vec<&'a Record>,
    /// Answers that it is gone.
    pub(super) gone: Vec<&'a Record>,
    /// Answers that it lives, where it hangs on one lock alone.
    pub(super) alive_alone: Vec<&'a Record>,
}

/// All leases, and the cancels.
pub(super) struct Leases<'a> {
    leases: BTreeMap<&'a str, OfLease<'a>>,
    cancelled: BTreeMap<RequestId, Moment>,
}

impl<'a> Leases<'a> {
    pub(super) fn gather(facts: &Facts<'a>) -> Self {
        let cancels = facts.records.iter().filter_map(|record| match (&record.call, &record.response) {
            (Call::Cancel(request), Response::Cancelled) => Some((*request, record.complete?)),
            _ => None,
        });
        let leases = facts.leases.iter().map(|(lease, seen)| (*lease, OfLease::gather(seen)));
        Self { leases: leases.collect(), cancelled: cancels.collect() }
    }

    pub(super) fn get(&self, lease: &str) -> Option<&OfLease<'a>> {
        self.leases.get(lease)
    }

    /// From when on a lease may have run out, for a grant that was asked for at `begin`.
    pub(super) fn may_expire(&self, lease: &str, begin: Moment) -> Moment {
        self.get(lease).and_then(|lease| lease.until).unwrap_or(begin).max(begin)
    }

    /// From when on somebody may have closed it without hearing so.
    pub(super) fn may_be_closed(&self, lease: &str) -> Moment {
        self.get(lease).and_then(|lease| lease.may_be_closed).unwrap_or(Moment(u64::MAX))
    }

    /// By when the wait or the grant of a request was over because its cancel was answered.
    pub(super) fn cancelled(&self, request: RequestId) -> Option<Moment> {
        self.cancelled.get(&request).copied()
    }
}

impl<'a> OfLease<'a> {
    fn gather(seen: &SeenLease<'a>) -> Self {
        let mut lease = Self { until: seen.promised.map(|(until, _)| until), ..Self::default() };
        // Its own acquire names how many locks it is for; a session is for any number.
        let alone =
            seen.kept_alive.iter().any(|record| record.granted().is_some_and(|(acquire, ..)| acquire.locks == 1));
        for record in &seen.kept_alive {
            match (&record.call, &record.response) {
                (Call::Renew(_), Response::Gone) => lease.gone.push(record),
                (Call::Renew(_), Response::Renewed { .. }) if alone => lease.alive_alone.push(record),
                _ => {}
            }
        }
        for record in &seen.closes {
            match record.response {
                Response::Closed(true) => lease.closed.push(record),
                Response::Failed { .. } => {}
                _ => lease.may_be_closed = Some(lease.may_be_closed.map_or(record.invoke, |at| at.min(record.invoke))),
            }
        }
        lease
    }
}
