//! What clients counted on, by what they recorded, and whether two of them ever did at once.
//!
//! A client counts on a lock from the answer that granted it until it sends its release, or is told that its lease is gone, or until the
//! last renewal that was answered, from its send, has lasted its ttl. Two clients never may at once. A granted lock must have a
//! living lease behind it, and a later grant a higher token.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::clock::Moment;
use crate::history::{Call, Record, Response};

const EXAMPLES_MAX: usize = 10;

/// One time that a client counted on a lock.
#[derive(Debug, Clone)]
struct Held {
    name: Arc<str>,
    client: u32,
    token: u64,
    asked: Moment,
    from: Moment,
    until: Moment,
    /// When the first renewal of the grant was answered.
    confirmed: Option<Moment>,
    /// The lease had ended already when the client first renewed it.
    dead: bool,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, client, token, from, until, .. } = self;
        write!(f, "client {client} on {name} under {token} from {from} until {until}")
    }
}

impl Held {
    fn all(records: &[Record]) -> Vec<Self> {
        let mut renewals: HashMap<&str, Vec<&Record>> = HashMap::new();
        let mut releases: HashMap<(&str, u64), Moment> = HashMap::new();
        for record in records {
            match &record.call {
                Call::Renew(renew) => renewals.entry(&renew.lease).or_default().push(record),
                Call::Release(release) => {
                    let sent = releases.entry((&record.lock, release.token)).or_insert(record.sent());
                    *sent = record.sent().min(*sent);
                }
                _ => {}
            }
        }
        renewals.values_mut().for_each(|renewals| renewals.sort_by_key(|record| record.sent()));
        let held = |record: &Record| {
            let (_, token, lease) = record.granted()?;
            let renewals = renewals.get(lease).map_or(&[][..], Vec::as_slice);
            Some(Self::of(record, renewals, releases.get(&(&*record.lock, token)).copied()))
        };
        records.iter().filter_map(held).collect()
    }

    fn of(grant: &Record, renewals: &[&Record], released: Option<Moment>) -> Self {
        let (ttl_ms, token) = grant.granted().map_or((0, 0), |(acquire, token, _)| (acquire.ttl_ms, token));
        let from = grant.complete.unwrap_or(grant.sent());
        let alive = || renewals.iter().filter(|record| matches!(record.response, Response::Renewed { .. }));
        let told_gone = renewals.iter().find(|record| record.response == Response::Gone);
        let told_gone = told_gone.and_then(|record| record.complete);
        let lasts = alive().map(|record| record.sent().plus_ms(ttl_ms)).max();
        // Until the first renewal is answered the client can only believe what it was told.
        let unconfirmed = || renewals.first().and_then(|record| record.complete).unwrap_or(from);
        let until = lasts.unwrap_or_else(unconfirmed);
        let until = until.min(released.unwrap_or(until)).min(told_gone.unwrap_or(until));
        let confirmed = alive().filter_map(|record| record.complete).min();
        let dead = confirmed.is_none() && told_gone.is_some_and(|told| told < from.plus_ms(ttl_ms / 2));
        let (name, client, asked) = (grant.lock.clone(), grant.worker, grant.sent());
        Self { name, client, token, asked, from, until: until.max(from), confirmed, dead }
    }
}

/// What was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verdict {
    /// Times that somebody was granted a lock.
    pub grants: usize,
    /// Times that two clients counted on one lock at once.
    pub overlaps: usize,
    /// Those among them in which the leases of both had been renewed after their grants.
    pub overlaps_confirmed: usize,
    /// The longest of them, in ms.
    pub overlap_ms_max: u64,
    /// Grants with a dead lease.
    pub dead_grants: usize,
    /// Grants that were asked for later than others were granted and have no higher token.
    pub tokens_out_of_order: usize,
    /// Some of them, in words.
    pub examples: Vec<String>,
}

impl Verdict {
    /// Judges what clients recorded.
    #[must_use]
    pub fn of(records: &[Record]) -> Self {
        Self::judge(Held::all(records))
    }

    /// Whether nothing was wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.overlaps + self.dead_grants + self.tokens_out_of_order == 0
    }

    fn judge(all: Vec<Held>) -> Self {
        let mut verdict = Self { grants: all.len(), ..Self::default() };
        let mut by_name: BTreeMap<Arc<str>, Vec<Held>> = BTreeMap::new();
        for held in all {
            by_name.entry(held.name.clone()).or_default().push(held);
        }
        for mut of_one in by_name.into_values() {
            of_one.sort_by_key(|held| held.from);
            verdict.look_for_overlaps(&of_one);
            verdict.look_for_disorder(&of_one);
        }
        verdict
    }

    /// `all` in the order of their grants.
    fn look_for_overlaps(&mut self, all: &[Held]) {
        for (at, held) in all.iter().enumerate() {
            if held.dead {
                self.dead_grants += 1;
                self.example(|| format!("dead lease: {held}"));
            }
            for other in all[at + 1..].iter().take_while(|other| other.from < held.until) {
                let until = held.until.min(other.until);
                if until <= other.from {
                    // It never counted on it for any time.
                    continue;
                }
                let both_confirmed = held.confirmed.zip(other.confirmed).map(|(one, other)| one.max(other));
                self.overlaps += 1;
                self.overlaps_confirmed += usize::from(both_confirmed.is_some_and(|both| both < until));
                let lasted = until.since(other.from);
                self.overlap_ms_max = self.overlap_ms_max.max(u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX));
                self.example(|| format!("both for {lasted:.0?}: {held}, and {other}"));
            }
        }
    }

    fn look_for_disorder(&mut self, all: &[Held]) {
        let mut by_asked: Vec<&Held> = all.iter().collect();
        by_asked.sort_by_key(|held| held.asked);
        let mut granted = all.iter().peekable();
        let mut greatest: Option<&Held> = None;
        for held in by_asked {
            while let Some(before) = granted.next_if(|before| before.from < held.asked) {
                if greatest.is_none_or(|greatest| before.token > greatest.token) {
                    greatest = Some(before);
                }
            }
            if let Some(before) = greatest.filter(|before| before.token >= held.token) {
                self.tokens_out_of_order += 1;
                self.example(|| format!("later and not higher: {before}, and {held}"));
            }
        }
    }

    fn example(&mut self, text: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(text());
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { grants, overlaps, overlaps_confirmed, dead_grants, tokens_out_of_order, .. } = self;
        write!(
            f,
            "{grants} grants: {overlaps} times two counted on one lock, {overlaps_confirmed} of them after both had renewed, \
             {dead_grants} grants with a dead lease, {tokens_out_of_order} tokens out of order"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Acquire, Release, Renew};
    use leasehold_state_machine::Mode;

    const TTL_MS: u64 = 100;

    fn at(ms: u64) -> Moment {
        Moment::default().plus_ms(ms)
    }

    fn record(worker: u32, sent: u64, done: u64, call: Call, response: Response) -> Record {
        let complete = (response != Response::Unknown).then(|| at(done));
        let (invoke, first_send) = (at(sent), Some(at(sent)));
        Record { worker, lock: "default/a".into(), invoke, first_send, complete, call, response }
    }

    fn grant(worker: u32, token: u64, asked: u64, from: u64) -> Record {
        let acquire = Acquire {
            request: None,
            attempts: 1,
            ttl_ms: TTL_MS,
            wait_ms: Some(1_000),
            mode: Mode::Exclusive,
            session: None,
            replaces: None,
            lock_delay_ms: 0,
            locks: 1,
        };
        let lease = token.to_string().into();
        let response = Response::Granted { token, lease, left_ms: TTL_MS, confirm: false };
        record(worker, asked, from, Call::Acquire(acquire), response)
    }

    fn renewal(worker: u32, token: u64, sent: u64, done: u64, response: Response) -> Record {
        let renew = Renew { lease: token.to_string().into(), token: Some(token), ttl_ms: TTL_MS };
        record(worker, sent, done, Call::Renew(renew), response)
    }

    fn renewed(worker: u32, token: u64, sent: u64, done: u64) -> Record {
        renewal(worker, token, sent, done, Response::Renewed { left_ms: TTL_MS })
    }

    fn release(worker: u32, token: u64, sent: u64) -> Record {
        record(worker, sent, sent, Call::Release(Release { token }), Response::Unknown)
    }

    #[test]
    fn one_after_another_is_clean() {
        let records =
            [grant(1, 1, 0, 10), renewed(1, 1, 10, 11), release(1, 1, 50), grant(2, 2, 5, 51), renewed(2, 2, 51, 52)];
        let verdict = Verdict::of(&records);
        assert!(verdict.is_clean() && verdict.grants == 2, "{verdict:?}");
        // An answer that comes late does not make a lease longer.
        let records = [grant(1, 1, 0, 10), renewed(1, 1, 10, 100), grant(2, 2, 5, 110), renewed(2, 2, 110, 111)];
        assert!(Verdict::of(&records).is_clean());
    }

    #[test]
    fn two_that_count_on_one_lock_are_found() {
        let records = [grant(2, 2, 5, 109), grant(1, 1, 0, 10), renewed(1, 1, 10, 11), renewed(2, 2, 109, 111)];
        let verdict = Verdict::of(&records);
        assert_eq!((verdict.overlaps, verdict.overlaps_confirmed, verdict.tokens_out_of_order), (1, 0, 0));
        let mut records = records.to_vec();
        records.push(renewed(1, 1, 40, 41));
        let verdict = Verdict::of(&records);
        assert_eq!((verdict.overlaps, verdict.overlaps_confirmed, verdict.overlap_ms_max), (1, 1, 31));
        // One that was told is out of the way.
        records.push(renewal(1, 1, 80, 90, Response::Gone));
        assert!(Verdict::of(&records).is_clean());
    }

    #[test]
    fn dead_leases_and_tokens_out_of_order_are_found() {
        let dead = Verdict::of(&[grant(1, 1, 0, 10), renewal(1, 1, 10, 20, Response::Gone)]);
        assert_eq!((dead.dead_grants, dead.overlaps), (1, 0));
        let late = Verdict::of(&[grant(1, 1, 0, 10), renewal(1, 1, 10, 80, Response::Gone)]);
        assert_eq!(late.dead_grants, 0, "it may have been alive when it was granted");
        let disorder = Verdict::of(&[grant(1, 2, 0, 10), release(1, 2, 11), grant(2, 2, 12, 20)]);
        assert_eq!((disorder.overlaps, disorder.tokens_out_of_order), (0, 1));
        let asked_before = Verdict::of(&[grant(1, 2, 0, 10), release(1, 2, 11), grant(2, 1, 9, 20)]);
        assert_eq!(asked_before.tokens_out_of_order, 0, "nobody says which came first");
    }
}
