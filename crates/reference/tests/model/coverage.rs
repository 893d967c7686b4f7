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

    fn one(&mut self, label: String) {
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

    /// Labels that nobody expected: new cases that the list should name.
    pub fn unexpected(&self, expected: &[&str]) -> Vec<&String> {
        self.0.keys().filter(|label| !expected.contains(&label.as_str())).collect()
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
        Outcome::Deadlock(deadlock) => format!("Deadlock of {}", deadlock.cycle.len().min(3)),
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
