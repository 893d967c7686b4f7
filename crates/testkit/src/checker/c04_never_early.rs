//! C4: never early: a lock whose lease was not given up is not granted again, to somebody who cannot hold it beside, before
//! the first send of the last successful acquire, opening or renewal + ttl, + the lock-delay. Clients and nodes of a run read
//! one clock, so there is no drift to allow for.

use std::collections::BTreeMap;

use leasehold_reference::go_together;
use leasehold_state_machine::Mode;

use super::facts::{Facts, Seen};
use super::report::{Invariant::C4, Report};
use crate::clock::Moment;
use crate::history::{Acquire, Call, Record};

/// A promise: nobody who cannot hold beside it before this moment.
#[derive(Clone, Copy)]
struct Promise<'a> {
    token: u64,
    until: Moment,
    mode: Mode,
    by: &'a Record,
}

/// A grant that a client heard of.
#[derive(Clone, Copy)]
struct Heard<'a> {
    token: u64,
    acquire: &'a Acquire,
    /// It was granted by then.
    granted: Moment,
}

pub(super) fn check(facts: &Facts<'_>, report: &mut Report) {
    check_beliefs(facts, report);
    let mut promises: BTreeMap<&str, Promises<'_>> = BTreeMap::new();
    for (token, seen) in &facts.seen {
        let Some((record, heard)) = heard(*token, seen) else { continue };
        let promised = promises.entry(&record.lock).or_default();
        if !is_downgrade(heard.acquire) {
            promised.check(&record.lock, heard, report);
        }
        if let Some(promise) = promise_of(facts, record, heard, seen) {
            promised.add(promise);
        }
    }
}

fn heard<'a>(token: u64, seen: &Seen<'a>) -> Option<(&'a Record, Heard<'a>)> {
    let record = seen.acquire()?;
    let (acquire, ..) = record.granted()?;
    Some((record, Heard { token, acquire, granted: record.complete.unwrap_or_default() }))
}

/// Its holder held the lock alone before: others cannot mind.
fn is_downgrade(acquire: &Acquire) -> bool {
    acquire.replaces.is_some() && acquire.mode == Mode::Shared
}

/// The promises of one lock.
#[derive(Default)]
struct Promises<'a> {
    /// The strongest one of each mode.
    strongest: BTreeMap<Mode, Promise<'a>>,
    /// All of permits, by their end.
    permits: BTreeMap<(Moment, u64), Promise<'a>>,
}

impl<'a> Promises<'a> {
    fn add(&mut self, promise: Promise<'a>) {
        let strongest = self.strongest.entry(promise.mode).or_insert(promise);
        if strongest.until < promise.until {
            *strongest = promise;
        }
        if matches!(promise.mode, Mode::Permits { .. }) {
            self.permits.insert((promise.until, promise.token), promise);
        }
    }

    fn check(&self, lock: &str, next: Heard<'_>, report: &mut Report) {
        let others = self.strongest.values().filter(|promise| {
            // Of one's own grant that is converted the promise is kept by the new one.
            !go_together(promise.mode, next.acquire.mode) && next.acquire.replaces != Some(promise.token)
        });
        if let Some(promise) = others.max_by_key(|promise| promise.until) {
            report.hold(C4, next.granted >= promise.until, || early(lock, next, promise));
        }
        let Mode::Permits { permits, limit } = next.acquire.mode else { return };
        // Whoever is promised a time after this grant was answered, holds while it is made.
        let held = self.permits.range((next.granted, u64::MAX)..).map(|(_, promise)| promise);
        let taken = held.clone().map(|promise| permits_of(promise.mode)).sum::<u64>() + u64::from(permits);
        report.hold(C4, taken <= limit.into(), || {
            let tokens: Vec<String> = held.map(|promise| promise.token.to_string()).collect();
            format!(
                "{lock}: {taken} of {limit} permits are held when token {} is granted by {}: those of tokens {}",
                next.token,
                next.granted,
                tokens.join(", ")
            )
        });
    }
}

fn permits_of(mode: Mode) -> u64 {
    match mode {
        Mode::Permits { permits, .. } => permits.into(),
        Mode::Exclusive | Mode::Shared => 0,
    }
}

fn early(lock: &str, next: Heard<'_>, promise: &Promise<'_>) -> String {
    format!(
        "{lock}: token {} was granted by {}, but token {} was promised until {} ({} sent at {})",
        next.token,
        next.granted,
        promise.token,
        promise.until,
        match promise.by.call {
            Call::Renew(_) => "renewal",
            Call::OpenSession(_) => "opening of the session",
            _ => "acquire",
        },
        promise.by.sent(),
    )
}

/// The last moment for which a token was promised; None where it was given up by then, or nothing is known.
fn promise_of<'a>(facts: &Facts<'a>, record: &'a Record, heard: Heard<'a>, seen: &Seen<'a>) -> Option<Promise<'a>> {
    let (.., lease) = record.granted()?;
    let (until, by) = facts.leases.get(lease)?.promised?;
    let ended_by_command = facts.ended_by_command(heard.token);
    if ended_by_command && facts.gave_up(seen).any(|record| record.invoke <= until) {
        return None;
    }
    // Nobody gave it up, so its lease had to run out, and the delay to pass.
    let delay_ms = if facts.replay.is_some() && !ended_by_command { delay_ms(facts, heard.acquire) } else { 0 };
    Some(Promise { token: heard.token, until: until.plus_ms(delay_ms), mode: heard.acquire.mode, by })
}

/// The lock-delay of a grant: a convert keeps that of the grant it replaced, where that is known.
fn delay_ms(facts: &Facts<'_>, acquire: &Acquire) -> u64 {
    let Some(replaced) = acquire.replaces else { return acquire.lock_delay_ms };
    let before = facts.seen.get(&replaced).and_then(|seen| seen.acquire()?.granted());
    before.map_or(0, |(before, ..)| if before.replaces.is_some() { 0 } else { before.lock_delay_ms })
}

/// No client may be sure to hold a lock when a later grant that cannot be beside it has been answered already, unless
/// somebody ended its grant by force: the holder hears of that later.
fn check_beliefs(facts: &Facts<'_>, report: &mut Report) {
    // From the greatest token down, by lock and mode: the earliest completions of later grants.
    let mut earliest: BTreeMap<&str, BTreeMap<Mode, Vec<Heard<'_>>>> = BTreeMap::new();
    for (token, seen) in facts.seen.iter().rev() {
        let own = heard(*token, seen);
        let mode = own.map_or(Mode::Exclusive, |(_, heard)| heard.acquire.mode);
        let forced = seen.given_up.iter().filter(|record| matches!(record.call, Call::ForceRelease(_)));
        let forced = forced.map(|record| record.invoke).min();
        for belief in seen.beliefs.iter().filter(|belief| forced.is_none_or(|forced| belief.invoke < forced)) {
            let modes =
                earliest.get(&*belief.lock).into_iter().flatten().filter(|(other, _)| !go_together(**other, mode));
            let later = modes.flat_map(|(_, later)| later).filter(|later| later.acquire.replaces != Some(*token));
            let later = later.filter(|later| later.granted < belief.invoke).min_by_key(|later| later.granted);
            report.hold(C4, later.is_none(), || {
                let (other, granted) = later.map_or((0, Moment::default()), |later| (later.token, later.granted));
                format!(
                    "{}: worker {} was sure to hold it under token {token} at {}, token {other} was granted by {granted}",
                    belief.lock, belief.worker, belief.invoke
                )
            });
        }
        let Some((record, heard)) = own.filter(|(record, _)| record.complete.is_some()) else { continue };
        // Two are enough: one of them may be the convert of the very grant that somebody believes in.
        let later = earliest.entry(&record.lock).or_default().entry(heard.acquire.mode).or_default();
        later.push(heard);
        later.sort_by_key(|later| later.granted);
        later.truncate(2);
    }
}

#[cfg(test)]
mod tests {
    use leasehold_state_machine::{LeaseId, Mode};

    use super::super::fixture::{Fixture, acquire_as, grants, grants_as, session};
    use super::C4;
    use crate::history::Acquire;

    fn shared(acquire: &mut Acquire) {
        acquire.mode = Mode::Shared;
    }

    fn under_session(acquire: &mut Acquire) {
        acquire.session = Some(session().to_string().into());
        acquire.ttl_ms = 0;
    }

    fn permits(permits: u32) -> impl Fn(&mut Acquire) {
        move |acquire| acquire.mode = Mode::Permits { permits, limit: 3 }
    }

    #[test]
    fn a_grant_after_the_ttl_passes() {
        Fixture::default().granted("a", 1, 100, 120).waited("a", 2, 200, 1_100).assert_holds(C4);
    }

    #[test]
    fn a_grant_after_a_release_passes_and_other_locks_are_their_own() {
        let fixture = Fixture::default().granted("a", 1, 0, 10).released("a", 1, 20, 30).granted("a", 2, 40, 50);
        fixture.believed("a", 1, 19).granted("b", 3, 45, 55).granted("b", 4, 50, 1_045).assert_holds(C4);
    }

    #[test]
    fn a_grant_before_the_ttl_is_over_is_caught() {
        let fixture = Fixture::default().granted("a", 1, 100, 120).granted("a", 2, 200, 1_099);
        fixture
            .assert_broken(C4, &["C4", "token 2", "1.099000 s", "token 1", "1.100000 s", "acquire sent at 0.100000 s"]);
    }

    #[test]
    fn a_renewal_counts_from_its_send() {
        let fixture = Fixture::default().granted("a", 1, 0, 10).renewed("a", 1, 900, 950).granted("a", 2, 1_000, 1_800);
        fixture.assert_broken(C4, &["token 2", "token 1", "1.900000 s", "renewal sent at 0.900000 s"]);
    }

    #[test]
    fn a_grant_in_between_does_not_hide_an_early_one() {
        let fixture = Fixture::default().granted("a", 1, 0, 10).granted("a", 2, 500, 1_200).released("a", 2, 0, 1_300);
        fixture.granted("a", 3, 510, 600).assert_broken(C4, &["token 3", "token 1"]);
    }

    #[test]
    fn those_who_share_are_not_in_each_others_way() {
        let fixture = Fixture::default().granted_as("a", 1, 0, 10, shared).granted_as("a", 2, 20, 30, shared);
        fixture.granted("a", 3, 40, 1_020).believed("a", 1, 31).assert_holds(C4);
    }

    #[test]
    fn a_writer_beside_a_reader_is_caught() {
        let fixture = Fixture::default().granted_as("a", 1, 0, 10, shared).granted_as("a", 2, 20, 30, shared);
        fixture.granted("a", 3, 40, 1_019).assert_broken(C4, &["token 3", "token 2 was promised until 1.020000 s"]);
    }

    #[test]
    fn more_permits_than_there_are_are_caught() {
        let fixture = Fixture::default().granted_as("a", 1, 0, 10, permits(2)).granted_as("a", 2, 20, 30, permits(1));
        fixture.granted_as("a", 3, 40, 1_001, permits(2)).assert_holds(C4);
        let fixture = Fixture::default().granted_as("a", 1, 0, 10, permits(2)).granted_as("a", 2, 20, 30, permits(1));
        fixture.granted_as("a", 3, 40, 50, permits(1)).assert_broken(C4, &["4 of 3 permits", "token 3", "1, 2"]);
    }

    #[test]
    fn what_hangs_on_a_session_is_promised_as_long_as_that() {
        let fixture = || Fixture::default().opened(0, 5).granted_as("a", 1, 10, 20, under_session).kept_alive(900, 950);
        fixture().granted("a", 2, 1_000, 1_900).assert_holds(C4);
        let words = ["token 2", "token 1", "1.900000 s", "renewal sent at 0.900000 s"];
        fixture().granted("a", 2, 1_000, 1_899).assert_broken(C4, &words);
    }

    #[test]
    fn an_opening_that_is_sent_again_promises_what_is_left() {
        let fixture = || Fixture::default().opened(0, 5).granted_as("a", 1, 10, 20, under_session);
        fixture().opened_again(600, 610, 380).granted("a", 2, 700, 1_000).assert_holds(C4);
        let more = fixture().opened_again(600, 610, 900).granted("a", 2, 700, 1_000);
        more.assert_broken(C4, &["token 2", "token 1 was promised until 1.500000 s", "opening of the session"]);
    }

    #[test]
    fn a_converted_grant_is_promised_under_its_new_token() {
        let downgrade = |acquire: &mut Acquire| {
            acquire.replaces = Some(1);
            acquire.mode = Mode::Shared;
        };
        let fixture = || Fixture::default().granted("a", 1, 0, 10).granted_as("a", 2, 20, 30, downgrade);
        fixture().granted_as("a", 3, 40, 50, shared).believed("a", 2, 60).assert_holds(C4);
        fixture().granted("a", 3, 40, 999).assert_broken(C4, &["token 3", "token 2 was promised until 1.000000 s"]);
    }

    #[test]
    fn a_client_that_is_sure_for_too_long_is_caught() {
        let fixture = Fixture::default().granted("a", 1, 0, 10).granted("a", 2, 20, 1_100).believed("a", 1, 1_101);
        fixture.assert_broken(C4, &["C4", "default/a", "token 1", "1.101000 s", "token 2", "1.100000 s"]);
    }

    #[test]
    fn who_lost_a_lock_by_force_may_not_have_heard_of_it() {
        let fixture = Fixture::default().granted("a", 1, 0, 10).forced("a", 1, 20, 30).granted("a", 2, 25, 35);
        fixture.believed("a", 1, 36).believed("a", 1, 19).assert_holds(C4);
    }

    #[test]
    fn a_release_that_the_log_does_not_know_is_no_excuse() {
        let fixture = Fixture::default().granted("a", 1, 0, 10).released("a", 1, 20, 30).granted("a", 2, 40, 50);
        let fixture = fixture.founded().acquire(1, "a", 1, None, grants("a", 1)).tick(1_002);
        fixture.acquire(1_002, "a", 2, None, grants("a", 2)).node(1).assert_broken(C4, &["token 2", "token 1"]);
    }

    #[test]
    fn a_lock_delay_counts_after_an_expiry() {
        let delayed = acquire_as("a", 1, 1, None, |acquire| acquire.lock_delay_ms = 500);
        let log = |fixture: Fixture| {
            let fixture = fixture.founded().entry(1, delayed, grants("a", 1)).tick(1_002).tick(1_503);
            let second = grants_as("a", 2, Mode::Exclusive, LeaseId(2), 1_000);
            fixture.acquire(1_503, "a", 2, None, second).node(1)
        };
        let delay = |acquire: &mut Acquire| acquire.lock_delay_ms = 500;
        let fixture = log(Fixture::default()).granted_as("a", 1, 0, 10, delay);
        fixture.granted("a", 2, 1_300, 1_499).assert_broken(C4, &["token 2", "token 1 was promised until 1.500000 s"]);
    }
}
