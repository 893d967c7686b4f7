//! From what the clients saw of one lock to operations with intervals.
//!
//! Expiry becomes an operation: a grant may end from the last successful acquire, opening or renewal + ttl on, or from when somebody
//! first asked for its end without being told what came of it; and it has ended when a grant that excludes it was answered.
//! All of these are one operation, since all do the same. A grant that only a read shows was made for somebody who never heard
//! of it. Who waits, and who was granted the lock without hearing of it, is in nobody's history: a refusal that they may
//! explain is left out.

use std::collections::{BTreeMap, BTreeSet};

use leasehold_reference::go_together;
use leasehold_state_machine::Mode;

use super::super::facts::{Facts, Seen};
use super::leases::Leases;
use super::model::{LeaseNumber, Operation, TokenNumber};
use super::search::Interval;
use crate::clock::Moment;
use crate::history::{Acquire, Call, Record, Response};

/// The operations of one lock.
#[derive(Debug, Default)]
pub(super) struct LockHistory {
    pub(super) intervals: Vec<Interval>,
    /// Its tokens: a token's number is its place here.
    pub(super) tokens: Vec<u64>,
    /// Refusals that somebody unseen may explain.
    pub(super) left_out: usize,
}

/// One grant, as far as it is known.
struct Known<'a> {
    token: u64,
    mode: Mode,
    lease: Option<&'a str>,
    replaces: Option<u64>,
    begin: Moment,
    /// It was granted by then.
    granted: Moment,
    /// What the clients did with it.
    seen: Option<&'a Seen<'a>>,
}

const EVER: Moment = Moment(u64::MAX);

/// Builds the history of one lock from its records.
pub(super) fn of_lock<'a>(facts: &'a Facts<'a>, leases: &Leases<'a>, records: &[&'a Record]) -> LockHistory {
    let known = grants(facts, records);
    let mut builder = Builder {
        facts,
        leases,
        numbers: known.iter().enumerate().map(|(number, grant)| (grant.token, number as TokenNumber)).collect(),
        lease_numbers: BTreeMap::new(),
        history: LockHistory { tokens: known.iter().map(|grant| grant.token).collect(), ..LockHistory::default() },
    };
    let excluded = excluded_by(&known);
    for (grant, excluded) in known.iter().zip(excluded) {
        builder.grant(grant, excluded);
    }
    builder.leases();
    let mut unseen = Unseen::of(facts, leases, records);
    unseen.settle();
    for record in records {
        builder.look(record, &unseen);
    }
    builder.history
}

/// All grants of the lock that anybody has seen, in token order.
fn grants<'a>(facts: &'a Facts<'a>, records: &[&'a Record]) -> Vec<Known<'a>> {
    let mut known: BTreeMap<u64, Known<'a>> = BTreeMap::new();
    for record in records {
        let (Some((acquire, token, lease)), Some(granted)) = (record.granted(), record.complete) else { continue };
        let grant = known.entry(token).or_insert(Known {
            token,
            mode: acquire.mode,
            lease: Some(lease),
            replaces: acquire.replaces,
            begin: record.invoke,
            granted,
            seen: facts.seen.get(&token),
        });
        (grant.begin, grant.granted) = (grant.begin.min(record.invoke), grant.granted.min(granted));
    }
    for record in records {
        let (Response::Seen { holders, .. }, Some(complete)) = (&record.response, record.complete) else { continue };
        for holder in holders {
            let grant = known.entry(holder.token).or_insert(Known {
                token: holder.token,
                mode: holder.mode,
                lease: None,
                replaces: None,
                begin: Moment::default(),
                granted: complete,
                seen: facts.seen.get(&holder.token),
            });
            grant.granted = grant.granted.min(complete);
        }
    }
    known.into_values().collect()
}

/// By when each grant was over because a later one that excludes it was answered.
fn excluded_by(known: &[Known<'_>]) -> Vec<Option<Moment>> {
    let mut earliest: BTreeMap<Mode, Moment> = BTreeMap::new();
    let mut excluded: Vec<Option<Moment>> = known
        .iter()
        .rev()
        .map(|grant| {
            let others = earliest.iter().filter(|(mode, _)| !go_together(**mode, grant.mode));
            let by = others.map(|(_, granted)| *granted).min();
            let own = earliest.entry(grant.mode).or_insert(grant.granted);
            *own = grant.granted.min(*own);
            by
        })
        .collect();
    excluded.reverse();
    excluded
}

struct Builder<'a, 'b> {
    facts: &'a Facts<'a>,
    leases: &'b Leases<'a>,
    numbers: BTreeMap<u64, TokenNumber>,
    lease_numbers: BTreeMap<&'a str, LeaseNumber>,
    history: LockHistory,
}

impl<'a> Builder<'a, '_> {
    fn add(&mut self, operation: Operation, begin: Moment, end: Option<Moment>) {
        self.history.intervals.push(Interval { operation, begin, end });
    }

    /// An answered call.
    fn answered(&mut self, record: &Record, operation: Operation) {
        self.add(operation, record.invoke, record.complete);
    }

    fn lease_number(&mut self, lease: Option<&'a str>) -> LeaseNumber {
        let next = self.lease_numbers.len() as LeaseNumber;
        // One that nobody knows is nobody's.
        lease.map_or(LeaseNumber::MAX, |lease| *self.lease_numbers.entry(lease).or_insert(next))
    }

    /// The grant, and how it may have ended.
    fn grant(&mut self, grant: &Known<'a>, excluded: Option<Moment>) {
        let token = self.numbers[&grant.token];
        let replaces = grant.replaces.and_then(|replaced| self.numbers.get(&replaced).copied());
        let lease = self.lease_number(grant.lease);
        let operation = Operation::Grant { token, mode: grant.mode, lease, replaces };
        self.add(operation, grant.begin, Some(grant.granted));
        let mut ends = grant.lease.map_or(grant.begin, |lease| self.leases.may_expire(lease, grant.begin));
        let given_up: Vec<&'a Record> = grant.seen.into_iter().flat_map(|seen| seen.given_up.iter().copied()).collect();
        let mut known_end = false;
        for record in given_up {
            match (&record.call, &record.response) {
                (Call::Release(_) | Call::ForceRelease(_), Response::Released(true)) => {
                    known_end = true;
                    self.answered(record, Operation::Release(token));
                }
                // The grant that came instead says so itself.
                (Call::Acquire(_), Response::Granted { .. }) => known_end = true,
                (_, Response::Failed { .. } | Response::Held | Response::Deadlock | Response::WaitEnded) => {}
                (_, response) => {
                    ends = ends.min(record.invoke);
                    if *response == Response::Released(false) {
                        self.answered(record, Operation::HoldsNot(token));
                    }
                }
            }
        }
        ends = ends.min(grant.lease.map_or(EVER, |lease| self.leases.may_be_closed(lease)));
        if !known_end {
            self.add(Operation::End(token), ends, excluded.map(|excluded| excluded.max(ends)));
        }
    }

    /// What became of the leases that held the lock.
    fn leases(&mut self) {
        for (lease, number) in self.lease_numbers.clone() {
            let of_lease = self.leases.get(lease);
            for record in of_lease.into_iter().flat_map(|of_lease| &of_lease.closed) {
                self.answered(record, Operation::Close(number));
            }
            for record in of_lease.into_iter().flat_map(|of_lease| &of_lease.gone) {
                self.answered(record, Operation::Gone(number));
            }
            for record in of_lease.into_iter().flat_map(|of_lease| &of_lease.alive_alone) {
                self.answered(record, Operation::Alive(number));
            }
        }
    }

    /// What was only looked at.
    fn look(&mut self, record: &'a Record, unseen: &Unseen) {
        let Some(complete) = record.complete else { return };
        match (&record.call, &record.response) {
            (Call::Get, Response::Seen { holders, .. }) => {
                let shown: BTreeSet<TokenNumber> = holders.iter().map(|holder| self.numbers[&holder.token]).collect();
                self.answered(record, Operation::Read(shown.into_iter().collect()));
            }
            (Call::SetValue { token, .. }, Response::ValueSet { .. }) => {
                if let Some(token) = self.numbers.get(token) {
                    self.answered(record, Operation::Holds(*token));
                }
            }
            (Call::Believe { token }, _) => {
                // Whom somebody else, or it itself, made give it up, hears of that later.
                let seen = self.facts.seen.get(token);
                let given_up = seen.into_iter().flat_map(|seen| self.facts.gave_up(seen));
                if let Some(number) = self.numbers.get(token)
                    && given_up.map(|record| record.invoke).min().is_none_or(|first| first > record.invoke)
                {
                    self.answered(record, Operation::Holds(*number));
                }
            }
            (Call::Acquire(acquire), Response::Held) if is_plain_try(acquire) => {
                if unseen.may_be_there(record.invoke, complete) {
                    self.history.left_out += 1;
                } else {
                    self.answered(record, Operation::Refused(acquire.mode));
                }
            }
            _ => {}
        }
    }
}

fn is_plain_try(acquire: &Acquire) -> bool {
    acquire.wait_ms.is_none() && acquire.locks == 1 && acquire.replaces.is_none()
}

/// From when until when somebody may have been in the way of whom nothing is known: a wait, a grant whose answer was lost, a
/// lock-delay.
#[derive(Default)]
struct Unseen(Vec<(Moment, Moment)>);

impl Unseen {
    fn of(facts: &Facts<'_>, leases: &Leases<'_>, records: &[&Record]) -> Self {
        let mut unseen = Self::default();
        for record in records {
            let Call::Acquire(acquire) = &record.call else { continue };
            let until = match &record.response {
                // It waited, or was in nobody's way, until it was granted; its lock-delay may follow.
                Response::Granted { .. } if acquire.lock_delay_ms > 0 => EVER,
                Response::Granted { .. } if acquire.wait_ms.is_some() => record.complete.unwrap_or(EVER),
                Response::Granted { .. } => continue,
                Response::Held | Response::Failed { .. } if acquire.wait_ms.is_none() => continue,
                Response::Held
                | Response::Deadlock
                | Response::WaitEnded
                | Response::Ended { .. }
                | Response::Failed { .. } => record.complete.unwrap_or(EVER),
                _ => acquire.request.and_then(|request| leases.cancelled(request)).unwrap_or(EVER),
            };
            unseen.0.push((record.invoke, until));
        }
        // A convert keeps the lock-delay of what it replaced, which may be anybody's.
        let delayed = |record: &&&Record| {
            let replaced = record.granted().and_then(|(acquire, ..)| acquire.replaces);
            replaced.is_some_and(|replaced| {
                let before = facts.seen.get(&replaced).and_then(|seen| seen.acquire()?.granted());
                before.is_none_or(|(before, ..)| before.lock_delay_ms > 0 || before.replaces.is_some())
            })
        };
        unseen.0.extend(records.iter().filter(delayed).map(|record| (record.invoke, EVER)));
        unseen
    }

    /// Sorts them, each to end when the last of those that began no later has ended.
    fn settle(&mut self) {
        self.0.sort_unstable();
        let mut last = Moment::default();
        for (_, end) in &mut self.0 {
            last = last.max(*end);
            *end = last;
        }
    }

    fn may_be_there(&self, from: Moment, until: Moment) -> bool {
        let begun = self.0.partition_point(|(begin, _)| *begin <= until);
        begun.checked_sub(1).is_some_and(|last| self.0[last].1 >= from)
    }
}
