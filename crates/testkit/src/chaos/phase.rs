//! What a lock goes through, and when the clients of a run were in it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Moment;
use crate::history::{Call, Record, Response};

/// Where a lock is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Somebody queues for it.
    Waiting,
    /// Somebody was told that it is theirs.
    Granted,
    /// A renewal is on its way.
    Renewing,
    /// A lease that nobody renews or releases runs out.
    Expiring,
    /// A release, a cancel or the end of a session is on its way.
    Releasing,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Granted, Self::Renewing, Self::Expiring, Self::Releasing];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Granted => "granted",
            Self::Renewing => "renewing",
            Self::Expiring => "expiring",
            Self::Releasing => "releasing",
        }
    }

    /// The phase of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.name() == name)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What was never answered counts as under way for so long.
const UNANSWERED_MS: u64 = 5_000;
/// A lease is about to run out for so long …
const BEFORE_EXPIRY_MS: u64 = 100;
/// … and the cluster busy with its end for so long.
const AFTER_EXPIRY_MS: u64 = 250;
/// No phase of one call is taken for longer than this.
const SPAN_MS_MAX: u64 = 10_000;

/// A worker was in a phase from one moment until another.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: Moment,
    until: Moment,
    worker: u32,
}

/// When the clients of a run were in which phase.
#[derive(Debug, Default)]
pub struct Phases(BTreeMap<Phase, Vec<Span>>);

impl Phases {
    /// From what they recorded.
    #[must_use]
    pub fn of(records: &[Record]) -> Self {
        let mut phases = Self::default();
        let ends = Ends::of(records);
        for record in records {
            let (from, until) = (record.sent(), record.complete.unwrap_or(record.sent().plus_ms(UNANSWERED_MS)));
            match &record.call {
                Call::Acquire(acquire) => {
                    if acquire.wait_ms.is_some() {
                        phases.add(Phase::Waiting, record.worker, from, until);
                    }
                    if let Some((_, token, lease)) = record.granted() {
                        let given_up = ends.given_up.get(&token).copied();
                        let runs_out = ends.leases.get(lease).copied();
                        let over = given_up.into_iter().chain(runs_out).min();
                        phases.add(Phase::Granted, record.worker, until, over.unwrap_or(until));
                        if let Some(end) = runs_out.filter(|end| given_up.is_none_or(|given_up| given_up > *end)) {
                            let before = Moment(end.0.saturating_sub(BEFORE_EXPIRY_MS * 1_000_000));
                            phases.add(Phase::Expiring, record.worker, before, end.plus_ms(AFTER_EXPIRY_MS));
                        }
                    }
                }
                Call::Renew(_) => phases.add(Phase::Renewing, record.worker, from, until),
                Call::Release(_) | Call::CloseLease(_) | Call::Cancel(_) => {
                    phases.add(Phase::Releasing, record.worker, from, until);
                }
                Call::OpenSession(_)
                | Call::ForceRelease(_)
                | Call::SetValue { .. }
                | Call::Get
                | Call::Believe { .. } => {}
            }
        }
        for spans in phases.0.values_mut() {
            spans.sort_by_key(|span| span.from);
        }
        phases
    }

    fn add(&mut self, phase: Phase, worker: u32, from: Moment, until: Moment) {
        let until = until.min(from.plus_ms(SPAN_MS_MAX));
        self.0.entry(phase).or_default().push(Span { from, until, worker });
    }

    /// Whether one of the workers that `counts` was in that phase between two moments.
    #[must_use]
    pub fn hit(&self, phase: Phase, from: Moment, until: Moment, counts: impl Fn(u32) -> bool) -> bool {
        let Some(spans) = self.0.get(&phase) else { return false };
        let earliest = Moment(from.0.saturating_sub(SPAN_MS_MAX * 1_000_000));
        let first = spans.partition_point(|span| span.from < earliest);
        spans[first..]
            .iter()
            .take_while(|span| span.from <= until)
            .any(|span| span.until >= from && counts(span.worker))
    }
}

/// How leases and grants end, by what the clients did.
struct Ends<'a> {
    /// The first call that gives a token up.
    given_up: BTreeMap<u64, Moment>,
    /// When a lease runs out that is not renewed again.
    leases: BTreeMap<&'a str, Moment>,
}

impl<'a> Ends<'a> {
    fn of(records: &'a [Record]) -> Self {
        let mut ends = Self { given_up: BTreeMap::new(), leases: BTreeMap::new() };
        for record in records {
            let lasts = match (&record.call, &record.response) {
                (Call::Release(release) | Call::ForceRelease(release), _) => {
                    let first = ends.given_up.entry(release.token).or_insert(record.sent());
                    *first = record.sent().min(*first);
                    None
                }
                (Call::Acquire(acquire), Response::Granted { lease, .. }) if acquire.ttl_ms > 0 => {
                    Some((&**lease, acquire.ttl_ms))
                }
                (Call::OpenSession(open), _) => Some((&*open.session, open.ttl_ms)),
                (Call::Renew(renew), Response::Renewed { .. } | Response::Unknown) => {
                    Some((&*renew.lease, renew.ttl_ms))
                }
                _ => None,
            };
            if let Some((lease, ttl_ms)) = lasts {
                let end = record.sent().plus_ms(ttl_ms);
                let last = ends.leases.entry(lease).or_insert(end);
                *last = end.max(*last);
            }
        }
        for record in records {
            if let Call::CloseLease(lease) = &record.call
                && let Some(last) = ends.leases.get_mut(&**lease)
            {
                *last = record.sent().min(*last);
            }
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Acquire, Release};
    use leasehold_state_machine::Mode;

    fn record(worker: u32, from: u64, until: u64, call: Call, response: Response) -> Record {
        let (invoke, complete) = (Moment(0).plus_ms(from), Some(Moment(0).plus_ms(until)));
        Record { worker, lock: "default/a".into(), invoke, first_send: Some(invoke), complete, call, response }
    }

    fn granted(worker: u32, token: u64, from: u64, until: u64) -> Record {
        let acquire = Acquire {
            request: None,
            attempts: 1,
            ttl_ms: 1_000,
            wait_ms: Some(5_000),
            mode: Mode::Exclusive,
            session: None,
            replaces: None,
            lock_delay_ms: 0,
            locks: 1,
        };
        let response = Response::Granted { token, lease: token.to_string().into(), left_ms: 1_000, confirm: false };
        record(worker, from, until, Call::Acquire(acquire), response)
    }

    fn at(phases: &Phases, ms: u64) -> Vec<&'static str> {
        let moment = Moment(0).plus_ms(ms);
        Phase::ALL.into_iter().filter(|phase| phases.hit(*phase, moment, moment, |_| true)).map(Phase::name).collect()
    }

    #[test]
    fn a_lock_goes_through_its_phases() {
        let release = record(1, 500, 510, Call::Release(Release { token: 1 }), Response::Released(true));
        let phases = Phases::of(&[granted(1, 1, 100, 200), release]);
        assert_eq!(at(&phases, 50), Vec::<&str>::new());
        assert_eq!(at(&phases, 150), ["waiting"]);
        assert_eq!(at(&phases, 300), ["granted"]);
        assert_eq!(at(&phases, 505), ["releasing"]);
        assert_eq!(at(&phases, 1_100), Vec::<&str>::new(), "it was released, so nothing runs out");
    }

    #[test]
    fn what_nobody_gives_up_runs_out() {
        let phases = Phases::of(&[granted(1, 1, 100, 200)]);
        assert_eq!(at(&phases, 1_050), ["granted", "expiring"]);
        assert_eq!(at(&phases, 1_200), ["expiring"]);
        assert!(!phases.hit(Phase::Expiring, Moment(0).plus_ms(1_200), Moment(0).plus_ms(1_200), |worker| worker == 2));
    }
}
