//! How often each answer and each event came: a comparison proves little about what never happened.

use std::collections::BTreeMap;

use leasehold_state_machine::{
    Cancelled, Effects, Ended, EventKind, Granted, Mode, Outcome, Refusal, Released, Renewed, ValueSet,
};

#[derive(Default, Debug)]
pub struct Seen(BTreeMap<String, usize>);

impl Seen {
    pub fn count(&mut self, effects: &Effects) {
        for outcome in &effects.outcomes {
            self.one(outcome_label(outcome));
            match outcome {
                Outcome::Released(all) => all.iter().for_each(|one| self.one(released_label("lock", one))),
                Outcome::Renewed(all) => all.iter().for_each(|one| self.one(renewed_label(one))),
                _ => {}
            }
        }
        for event in &effects.events {
            self.one(event_label(&event.kind));
        }
    }

    pub fn one(&mut self, label: String) {
        *self.0.entry(label).or_default() += 1;
    }

    pub fn add(&mut self, other: Self) {
        for (label, count) in other.0 {
            *self.0.entry(label).or_default() += count;
        }
    }

    pub fn missing<'a>(&self, expected: &[&'a str]) -> Vec<&'a str> {
        expected.iter().copied().filter(|label| !self.0.contains_key(*label)).collect()
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|(label, count)| writeln!(f, "{count:9} {label}"))
    }
}

fn mode_label(mode: Mode) -> &'static str {
    match mode {
        Mode::Exclusive => "exclusive",
        Mode::Shared => "shared",
        Mode::Permits { .. } => "permits",
    }
}

fn granted_label(granted: &Granted) -> String {
    let lease = if granted.lease.is_session() { "session" } else { "lease" };
    let locks = if granted.grants.len() > 1 { "several" } else { mode_label(granted.grants[0].mode) };
    format!("{locks} {lease} confirm={}", granted.confirm)
}

fn outcome_label(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Granted(granted) => format!("Granted {}", granted_label(granted)),
        Outcome::Queued(queued) => format!("Queued ahead={}", queued.ahead > 0),
        Outcome::Held(held) => {
            format!(
                "Held holders={} by_self={} delay={}",
                !held.holders.is_empty(),
                held.by_self,
                held.delay_left_ms > 0
            )
        }
        Outcome::Ended(ended) => ended_label(*ended),
        Outcome::Cancelled(cancelled) => match cancelled {
            Cancelled::Kept { .. } => "Cancelled Kept".into(),
            other => format!("Cancelled {other:?}"),
        },
        Outcome::Released(all) => format!("Released several={}", all.len() > 1),
        Outcome::Renewed(all) => format!("Renewed several={}", all.len() > 1),
        Outcome::Closed(closed) => format!("Closed {} grants={}", closed.closed, closed.grants_ended.min(2)),
        Outcome::Founded => "Founded".into(),
        Outcome::Done => "Done".into(),
        Outcome::Refused(refusal) => refusal_label(refusal),
        Outcome::Deadlock(deadlock) => format!("Deadlock of {}", deadlock.cycle.len().min(4)),
        Outcome::Opened(_) => "Opened".into(),
        Outcome::ValueSet(set) => match set {
            ValueSet::Set { .. } => "ValueSet Set".into(),
            ValueSet::Conflict { .. } => "ValueSet Conflict".into(),
            ValueSet::NotHeld { reason } => format!("ValueSet NotHeld reason={}", reason.is_some()),
        },
        Outcome::ForceReleased(released) => released_label("force", released),
    }
}

fn ended_label(ended: Ended) -> String {
    format!("Ended {:?} granted={}", ended.reason, ended.token.is_some())
}

fn released_label(what: &str, released: &Released) -> String {
    let Released { released, reason, still_held } = released;
    format!("{what} released={released} {reason:?} still={still_held}")
}

fn renewed_label(renewed: &Renewed) -> String {
    match renewed {
        Renewed::Alive { .. } => "renewed Alive".into(),
        Renewed::Gone { reason } => format!("renewed Gone {reason:?}"),
        Renewed::TtlOutOfRange { .. } => "renewed TtlOutOfRange".into(),
        Renewed::Untouched => "renewed Untouched".into(),
    }
}

fn refusal_label(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NotFounded => "Refused NotFounded".into(),
        Refusal::TooLate { .. } => "Refused TooLate".into(),
        Refusal::Invalid { field, .. } => format!("Invalid {field}"),
        Refusal::LimitReached { limit, .. } => format!("LimitReached {limit}"),
        Refusal::WrongToken { .. } => "Refused WrongToken".into(),
        Refusal::BodyMismatch => "Refused BodyMismatch".into(),
        Refusal::AlreadyAnswered { .. } => "Refused AlreadyAnswered".into(),
        Refusal::Superseded { .. } => "Refused Superseded".into(),
        Refusal::NoSession { reason, .. } => format!("Refused NoSession {reason:?}"),
        Refusal::LimitConflict { .. } => "Refused LimitConflict".into(),
        Refusal::NotHeld { reason, .. } => format!("Refused NotHeld {reason:?}"),
        Refusal::Level { .. } => "Refused Level".into(),
    }
}

fn event_label(kind: &EventKind) -> String {
    match kind {
        EventKind::Granted { granted, .. } => format!("event Granted {}", granted_label(granted)),
        EventKind::Queued { attempt, lease, .. } => {
            format!("event Queued later={} lease={}", *attempt > 1, lease.is_some())
        }
        EventKind::WaitEnded { reason, timed_out, .. } => format!("event WaitEnded {reason:?} timed_out={timed_out}"),
        EventKind::Lost { reason, .. } => format!("event Lost {reason:?}"),
        EventKind::Converted { mode, .. } => format!("event Converted {}", mode_label(*mode)),
        EventKind::ValueSet { .. } => "event ValueSet".into(),
        EventKind::SessionOpened { .. } => "event SessionOpened".into(),
        EventKind::LeaseEnded { lease, reason, .. } => {
            format!("event LeaseEnded session={} {reason:?}", lease.is_session())
        }
    }
}

/// What a run of the usual length must have met: every kind of outcome, of refusal and of event, and the reasons that make a
/// difference. Each of them comes sixty times and more in a million commands.
pub const EXPECTED: &[&str] = &[
    "busy before the entry: a lock-delay",
    "busy before the entry: exclusive",
    "busy before the entry: permits",
    "busy before the entry: shared",
    "Cancelled Kept",
    "Cancelled LeftQueue",
    "Cancelled NotFound",
    "Cancelled Superseded",
    "Cancelled UndidGrant",
    "Closed false grants=0",
    "Closed true grants=0",
    "Closed true grants=1",
    "Closed true grants=2",
    "Deadlock of 1",
    "Deadlock of 2",
    "Deadlock of 3",
    "Deadlock of 4",
    "Done",
    "Ended Cancelled granted=false",
    "Ended Cancelled granted=true",
    "Ended Converted granted=true",
    "Ended Expired granted=false",
    "Ended Expired granted=true",
    "Ended Forced granted=true",
    "Ended LeaseClosed granted=false",
    "Ended LeaseClosed granted=true",
    "Ended Released granted=true",
    "Founded",
    "Granted exclusive lease confirm=false",
    "Granted exclusive lease confirm=true",
    "Granted exclusive session confirm=false",
    "Granted permits lease confirm=false",
    "Granted permits lease confirm=true",
    "Granted permits session confirm=false",
    "Granted several lease confirm=false",
    "Granted several lease confirm=true",
    "Granted several session confirm=false",
    "Granted shared lease confirm=false",
    "Granted shared lease confirm=true",
    "Granted shared session confirm=false",
    "Held holders=false by_self=false delay=false",
    "Held holders=false by_self=false delay=true",
    "Held holders=true by_self=false delay=false",
    "Held holders=true by_self=false delay=true",
    "Held holders=true by_self=true delay=false",
    "Invalid actor",
    "Invalid attempt",
    "Invalid leases[0].ttl_ms",
    "Invalid leases[1].ttl_ms",
    "Invalid leases[2].ttl_ms",
    "Invalid limits.ttl_ms_max",
    "Invalid limits.ttl_ms_min",
    "Invalid lock_delay_ms",
    "Invalid locks",
    "Invalid locks[0].mode",
    "Invalid locks[0].name",
    "Invalid locks[0].permits",
    "Invalid locks[1].name",
    "Invalid locks[1].token",
    "Invalid locks[2].name",
    "Invalid lowest_unanswered",
    "Invalid metadata",
    "Invalid name",
    "Invalid namespace",
    "Invalid owner",
    "Invalid reason",
    "Invalid request_id.counter",
    "Invalid session",
    "Invalid ttl_ms",
    "Invalid value",
    "Invalid wait_ms",
    "LimitReached instances_max",
    "LimitReached leases_max",
    "LimitReached limited_namespaces_max",
    "LimitReached lock_delays_max",
    "LimitReached locks_per_lease_max",
    "LimitReached requests_max",
    "LimitReached waiters_per_lock_max",
    "Opened",
    "Queued ahead=false",
    "Queued ahead=true",
    "Refused AlreadyAnswered",
    "Refused BodyMismatch",
    "Refused Level",
    "Refused LimitConflict",
    "Refused NoSession None",
    "Refused NoSession Some(Expired)",
    "Refused NoSession Some(LeaseClosed)",
    "Refused NoSession Some(Released)",
    "Refused NotFounded",
    "Refused NotHeld None",
    "Refused NotHeld Some(Cancelled)",
    "Refused NotHeld Some(Expired)",
    "Refused NotHeld Some(Forced)",
    "Refused NotHeld Some(LeaseClosed)",
    "Refused NotHeld Some(Released)",
    "Refused Superseded",
    "Refused TooLate",
    "Refused WrongToken",
    "Released several=false",
    "Released several=true",
    "Renewed several=false",
    "Renewed several=true",
    "ValueSet Conflict",
    "ValueSet NotHeld reason=false",
    "ValueSet NotHeld reason=true",
    "ValueSet Set",
    "event Converted exclusive",
    "event Converted shared",
    "event Granted exclusive lease confirm=false",
    "event Granted exclusive lease confirm=true",
    "event Granted exclusive session confirm=false",
    "event Granted permits lease confirm=false",
    "event Granted permits lease confirm=true",
    "event Granted permits session confirm=false",
    "event Granted several lease confirm=false",
    "event Granted several lease confirm=true",
    "event Granted several session confirm=false",
    "event Granted shared lease confirm=false",
    "event Granted shared lease confirm=true",
    "event Granted shared session confirm=false",
    "event LeaseEnded session=false Cancelled",
    "event LeaseEnded session=false Expired",
    "event LeaseEnded session=false Forced",
    "event LeaseEnded session=false LeaseClosed",
    "event LeaseEnded session=false Released",
    "event LeaseEnded session=true Expired",
    "event LeaseEnded session=true LeaseClosed",
    "event Lost Cancelled",
    "event Lost Expired",
    "event Lost Forced",
    "event Lost LeaseClosed",
    "event Lost Released",
    "event Queued later=false lease=false",
    "event Queued later=false lease=true",
    "event Queued later=true lease=false",
    "event Queued later=true lease=true",
    "event SessionOpened",
    "event ValueSet",
    "event WaitEnded Cancelled timed_out=false",
    "event WaitEnded Expired timed_out=false",
    "event WaitEnded Expired timed_out=true",
    "event WaitEnded Forced timed_out=false",
    "event WaitEnded LeaseClosed timed_out=false",
    "event WaitEnded Released timed_out=false",
    "force released=false None still=false",
    "force released=false Some(Cancelled) still=false",
    "force released=false Some(Expired) still=false",
    "force released=false Some(Forced) still=false",
    "force released=false Some(LeaseClosed) still=false",
    "force released=false Some(Released) still=false",
    "force released=true None still=false",
    "lock released=false None still=false",
    "lock released=false None still=true",
    "lock released=false Some(Cancelled) still=false",
    "lock released=false Some(Expired) still=false",
    "lock released=false Some(Forced) still=false",
    "lock released=false Some(LeaseClosed) still=false",
    "lock released=false Some(Released) still=false",
    "lock released=true None still=false",
    "renewed Alive",
    "renewed Gone None",
    "renewed Gone Some(Cancelled)",
    "renewed Gone Some(Expired)",
    "renewed Gone Some(Forced)",
    "renewed Gone Some(LeaseClosed)",
    "renewed Gone Some(Released)",
    "renewed TtlOutOfRange",
    "renewed Untouched",
];
