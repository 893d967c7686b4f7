//! A caller of another system: the same closed loop as that of Leasehold's callers.

use std::sync::Arc;

use leasehold_client::clock::Moment;
use leasehold_platform::random;
use rand::Rng;

use super::super::record::{Measure, Record};
use super::super::worker::Contended;
use super::{Job, Work};

/// What all seats of a job share.
#[derive(Debug)]
pub(super) struct Floor {
    work: Work,
    prefix: String,
    /// Locks that the callers share.
    pub(super) shared: Vec<Contended>,
    origin: Moment,
}

impl Floor {
    pub(super) fn new(job: &Job, origin: Moment) -> Arc<Self> {
        let prefix = format!("bench-{:08x}-", random::rng().random_range(0..=u32::MAX));
        let locks = if job.work == Work::Uncontended { 0 } else { job.locks };
        let shared = (0..locks).map(|lock| Contended::new(format!("{prefix}shared-{lock}"))).collect();
        Arc::new(Self { work: job.work, prefix, shared, origin })
    }

    /// The callers, spread over so many connections.
    pub(super) fn seats(self: &Arc<Self>, job: &Job) -> Vec<Vec<Seat>> {
        let mut connections: Vec<Vec<Seat>> = (0..job.connections).map(|_| Vec::new()).collect();
        for number in 0..job.callers {
            connections[number % job.connections].push(Seat::new(self, number));
        }
        connections
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    Take,
    Give,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Taken,
    Held,
    Given,
    /// Nothing was there to give back.
    NotHeld,
}

pub(super) struct Seat {
    floor: Arc<Floor>,
    pub(super) lock: String,
    shared: Option<usize>,
    /// When the take, or the give, was first sent.
    sent: Moment,
}

impl Seat {
    fn new(floor: &Arc<Floor>, number: usize) -> Self {
        let shared = (!floor.shared.is_empty()).then(|| number % floor.shared.len());
        let lock = match shared {
            Some(lock) => floor.shared[lock].name.clone(),
            None => format!("{}own-{number}", floor.prefix),
        };
        Self { floor: Arc::clone(floor), lock, shared, sent: floor.origin }
    }

    /// The first request; none if there is no time for it.
    pub(super) fn begin(&mut self, now: Moment, ending: bool) -> Option<Request> {
        self.sent = now;
        (!ending).then_some(Request::Take)
    }

    /// What to send after this reply; None: nothing more.
    pub(super) fn next(&mut self, reply: &Reply, now: Moment, ending: bool, record: &mut Record) -> Option<Request> {
        let took = now.since(self.sent);
        match (reply, self.floor.work) {
            (Reply::Taken, work) => {
                record.took(Measure::Acquire, took, now);
                let passed = self.shared.and_then(|lock| self.floor.shared[lock].passed_on(self.floor.origin, now));
                match work {
                    Work::Uncontended => {}
                    Work::Contended => {
                        record.worked(1, now);
                        passed.into_iter().for_each(|took| record.took(Measure::Handover, took, now));
                    }
                    Work::TryBusy => record.error("a lock that is held was granted"),
                }
                self.sent = now;
                Some(Request::Give)
            }
            (Reply::Held, Work::TryBusy) => {
                record.took(Measure::Held, took, now);
                record.worked(1, now);
                self.begin(now, ending)
            }
            // Where nothing waits in a queue, the caller asks again at once, which is the soonest it can get it.
            (Reply::Held, Work::Contended) => (!ending).then_some(Request::Take),
            (Reply::Held, Work::Uncontended) => {
                record.error("a lock that nobody has was held");
                (!ending).then_some(Request::Take)
            }
            (Reply::Given, work) => {
                record.took(Measure::Release, took, now);
                if work == Work::Uncontended {
                    record.worked(1, now);
                }
                self.begin(now, ending)
            }
            (Reply::NotHeld, _) => {
                record.error("a lock was lost before its release");
                self.begin(now, ending)
            }
        }
    }
}
