//! The evidence, sorted once for all checks.

use std::collections::BTreeMap;

use leasehold_state_machine::{
    Acquire, Attempt, Command, LeaseId, LeaseRequest, Opened, Operation, Outcome, Released, Renewed, RequestId,
};

use super::replay::Replay;
use super::{Bounds, Evidence};
use crate::clock::Moment;
use crate::dump::{Entry, NodeLog};
use crate::history::{Call, Fault, Record, Response};

/// The evidence, sorted.
pub(super) struct Facts<'a> {
    pub(super) nodes: &'a [NodeLog],
    pub(super) bounds: &'a Bounds,
    pub(super) faults: &'a [Fault],
    pub(super) records: &'a [Record],
    /// What the clients did with single tokens. A grant was heard of where it has an acquire.
    pub(super) seen: BTreeMap<u64, Seen<'a>>,
    /// What the clients did with leases and sessions.
    pub(super) leases: BTreeMap<&'a str, SeenLease<'a>>,
    /// The log of the node that knows most of it.
    pub(super) log: Option<LogFacts<'a>>,
    /// That log through the reference model, if it is whole and the model agrees with it.
    pub(super) replay: Option<Replay>,
    /// The same if the model does not agree.
    pub(super) disagreement: Option<Replay>,
}

/// What the clients did with one token.
#[derive(Default)]
pub(super) struct Seen<'a> {
    /// Acquires that were answered with it: more than one is a breach.
    pub(super) acquires: Vec<&'a Record>,
    /// Releases, forced ones and cancels, and converts that would replace it.
    pub(super) given_up: Vec<&'a Record>,
    /// Moments at which the client was sure to hold it.
    pub(super) beliefs: Vec<&'a Record>,
}

impl<'a> Seen<'a> {
    /// The acquire that was answered with this token.
    pub(super) fn acquire(&self) -> Option<&'a Record> {
        self.acquires.first().copied()
    }
}

/// What the clients did with one lease or session.
#[derive(Default)]
pub(super) struct SeenLease<'a> {
    /// Acquires that made it, or calls that opened it; then renewals. In any state.
    pub(super) kept_alive: Vec<&'a Record>,
    pub(super) closes: Vec<&'a Record>,
    /// The last moment for which it was promised, and by what.
    pub(super) promised: Option<(Moment, &'a Record)>,
}

/// How long a lease lasts at least, from the send of a call that was answered so.
fn lasts_ms(record: &Record) -> Option<u64> {
    match (&record.call, &record.response) {
        // A grant cannot come before its request, so its ttl counts from the send even where the answer dares not say so.
        (Call::Acquire(acquire), Response::Granted { .. }) => Some(acquire.ttl_ms),
        // One that is sent again finds the session open, and makes it no longer.
        (Call::OpenSession(open), Response::Opened { left_ms }) => Some(open.ttl_ms.min(*left_ms)),
        (Call::Renew(renew), Response::Renewed { left_ms }) => Some(renew.ttl_ms.max(*left_ms)),
        _ => None,
    }
}

/// One command and what it came to.
#[derive(Clone, Copy)]
pub(super) struct Applied<'a> {
    pub(super) entry: &'a Entry,
    /// Place of the command in its entry.
    pub(super) ordinal: usize,
    pub(super) outcome: &'a Outcome,
}

impl Applied<'_> {
    /// Place in the log: index, then ordinal.
    pub(super) fn place(&self) -> (u64, usize) {
        (self.entry.index, self.ordinal)
    }
}

/// One token of a release.
#[derive(Clone, Copy)]
pub(super) struct AppliedRelease<'a> {
    pub(super) applied: Applied<'a>,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) released: Released,
    pub(super) forced: bool,
}

/// The commands of one log, by what they name.
pub(super) struct LogFacts<'a> {
    pub(super) log: &'a NodeLog,
    pub(super) whole: bool,
    pub(super) acquires: BTreeMap<RequestId, Vec<(&'a Acquire, Applied<'a>)>>,
    pub(super) cancels: BTreeMap<RequestId, Vec<(Attempt, Applied<'a>)>>,
    pub(super) releases: BTreeMap<u64, Vec<AppliedRelease<'a>>>,
    pub(super) renewals: BTreeMap<LeaseId, Vec<(Applied<'a>, Renewed)>>,
    /// Time left of a session at the opening, or at a duplicate of it.
    pub(super) openings: BTreeMap<LeaseId, Vec<(Applied<'a>, u64)>>,
    pub(super) closes: BTreeMap<LeaseId, Vec<Applied<'a>>>,
    /// Versions that were set, by token.
    pub(super) values: BTreeMap<u64, Vec<Applied<'a>>>,
}

impl<'a> Facts<'a> {
    pub(super) fn gather(evidence: &'a Evidence) -> Self {
        let nodes = &evidence.nodes;
        let fullest = nodes.iter().max_by_key(|log| {
            (log.is_whole(), log.committed().last().map_or(0, |entry| entry.index), log.entries.len())
        });
        let replay = fullest.filter(|log| log.is_whole()).map(Replay::run);
        let (replay, disagreement) = match replay {
            Some(replay) if !replay.mismatches.is_empty() => (None, Some(replay)),
            replay => (replay, None),
        };
        Self {
            nodes,
            bounds: &evidence.bounds,
            faults: &evidence.history.faults,
            records: &evidence.history.records,
            seen: gather_seen(&evidence.history.records),
            leases: gather_leases(&evidence.history.records),
            log: fullest.map(LogFacts::gather),
            replay,
            disagreement,
        }
    }

    /// Whether the log leaves it open, or confirms, that a command ended the grant (and not its lease's time).
    pub(super) fn ended_by_command(&self, token: u64) -> bool {
        self.replay.as_ref().and_then(|replay| replay.grant(token)).is_none_or(|grant| grant.ended_by_command())
    }

    /// Calls that give up a grant, or try to, or end it by force.
    pub(super) fn gave_up(&self, seen: &Seen<'a>) -> impl Iterator<Item = &'a Record> {
        let lease = seen.acquire().and_then(|record| record.granted()).map(|(.., lease)| lease);
        let closes = lease.and_then(|lease| self.leases.get(lease)).map_or(&[][..], |lease| &lease.closes);
        let all: Vec<&'a Record> = seen.given_up.iter().chain(closes).copied().collect();
        all.into_iter()
    }
}

fn gather_seen(records: &[Record]) -> BTreeMap<u64, Seen<'_>> {
    let mut seen: BTreeMap<u64, Seen<'_>> = BTreeMap::new();
    let mut tokens_of: BTreeMap<RequestId, Vec<u64>> = BTreeMap::new();
    for record in records {
        match &record.call {
            Call::Acquire(acquire) => {
                if let Response::Granted { token, .. } = record.response {
                    seen.entry(token).or_default().acquires.push(record);
                    if let Some(request) = acquire.request {
                        tokens_of.entry(request).or_default().push(token);
                    }
                }
                if let Some(replaced) = acquire.replaces {
                    seen.entry(replaced).or_default().given_up.push(record);
                }
            }
            Call::Release(release) | Call::ForceRelease(release) => {
                seen.entry(release.token).or_default().given_up.push(record);
            }
            Call::Believe { token } => seen.entry(*token).or_default().beliefs.push(record),
            Call::OpenSession(_)
            | Call::Renew(_)
            | Call::CloseLease(_)
            | Call::SetValue { .. }
            | Call::Cancel(_)
            | Call::Get => {}
        }
    }
    for record in records {
        if let Call::Cancel(request) = &record.call {
            for token in tokens_of.get(request).into_iter().flatten() {
                seen.entry(*token).or_default().given_up.push(record);
            }
        }
    }
    seen
}

fn gather_leases(records: &[Record]) -> BTreeMap<&str, SeenLease<'_>> {
    let mut leases: BTreeMap<&str, SeenLease<'_>> = BTreeMap::new();
    for record in records {
        let alive = match &record.call {
            Call::OpenSession(open) => Some(&*open.session),
            Call::Renew(renew) => Some(&*renew.lease),
            Call::CloseLease(lease) => {
                leases.entry(lease).or_default().closes.push(record);
                None
            }
            // Under a session or a replaced grant's lease it keeps nothing alive.
            Call::Acquire(acquire) if acquire.session.is_none() && acquire.replaces.is_none() => {
                record.granted().map(|(.., lease)| lease)
            }
            _ => None,
        };
        if let Some(lease) = alive {
            let seen = leases.entry(lease).or_default();
            seen.kept_alive.push(record);
            if let Some(until) = lasts_ms(record).map(|ms| record.sent().plus_ms(ms))
                && seen.promised.is_none_or(|(last, _)| last <= until)
            {
                seen.promised = Some((until, record));
            }
        }
    }
    leases
}

impl<'a> LogFacts<'a> {
    fn gather(log: &'a NodeLog) -> Self {
        let mut facts = Self {
            log,
            whole: log.is_whole(),
            acquires: BTreeMap::new(),
            cancels: BTreeMap::new(),
            releases: BTreeMap::new(),
            renewals: BTreeMap::new(),
            openings: BTreeMap::new(),
            closes: BTreeMap::new(),
            values: BTreeMap::new(),
        };
        for entry in log.committed() {
            for (ordinal, (command, outcome)) in entry.commands.iter().zip(&entry.outcomes).enumerate() {
                facts.add(command, Applied { entry, ordinal, outcome });
            }
        }
        facts
    }

    fn add(&mut self, command: &'a Command, applied: Applied<'a>) {
        match (&command.operation, applied.outcome) {
            (Operation::Acquire(acquire), _) => {
                self.acquires.entry(acquire.request).or_default().push((acquire, applied));
            }
            (Operation::CancelAcquire(cancel), _) => {
                self.cancels.entry(cancel.request).or_default().push((cancel.attempt, applied));
            }
            (Operation::Release(release), Outcome::Released(released)) => {
                for (lock, released) in release.locks.iter().zip(released) {
                    let (namespace, name, released) = (&*release.namespace, &*lock.name, *released);
                    let one = AppliedRelease { applied, namespace, name, released, forced: false };
                    self.releases.entry(lock.token.0).or_default().push(one);
                }
            }
            (Operation::ForceRelease(force), Outcome::ForceReleased(released)) => {
                let (namespace, name, released) = (&*force.namespace, &*force.name, *released);
                let one = AppliedRelease { applied, namespace, name, released, forced: true };
                self.releases.entry(force.token.0).or_default().push(one);
            }
            (Operation::Renew(renew), Outcome::Renewed(renewed)) => {
                for (asked, got) in renew.leases.iter().zip(renewed) {
                    self.renewals.entry(asked.lease).or_default().push((applied, *got));
                }
            }
            (Operation::OpenSession(open), Outcome::Opened(Opened { left_ms })) => {
                self.openings.entry(open.session).or_default().push((applied, *left_ms));
            }
            (Operation::CloseLease(close), Outcome::Closed(closed)) if closed.closed => {
                self.closes.entry(close.lease).or_default().push(applied);
            }
            (Operation::SetValue(set), _) => self.values.entry(set.token.0).or_default().push(applied),
            _ => {}
        }
    }

    /// Grants that an acquire's own entry made or repeated.
    pub(super) fn outright_grants(&self) -> impl Iterator<Item = OutrightGrant<'a>> + '_ {
        self.acquires.iter().flat_map(|(request, sends)| {
            sends.iter().flat_map(|(acquire, applied)| match applied.outcome {
                Outcome::Granted(granted) => granted
                    .grants
                    .iter()
                    .map(|grant| OutrightGrant {
                        request: *request,
                        acquire,
                        token: grant.token.0,
                        lock: lock_of(&acquire.namespace, &grant.name),
                        lease: granted.lease,
                        left_ms: granted.left_ms,
                        confirm: granted.confirm,
                        applied: *applied,
                    })
                    .collect::<Vec<_>>(),
                _ => Vec::new(),
            })
        })
    }
}

/// An acquire whose outcome was a grant: a new one, or the repeated answer of an older one.
pub(super) struct OutrightGrant<'a> {
    pub(super) request: RequestId,
    pub(super) acquire: &'a Acquire,
    pub(super) token: u64,
    pub(super) lock: String,
    pub(super) lease: LeaseId,
    pub(super) left_ms: u64,
    pub(super) confirm: bool,
    pub(super) applied: Applied<'a>,
}

impl OutrightGrant<'_> {
    /// Whether its lease shows that the grant was made in this millisecond of log time. A repeated answer has less left; of
    /// a grant under a session or of a convert nothing can be told.
    pub(super) fn is_fresh(&self) -> bool {
        !self.confirm && matches!(self.acquire.lease, LeaseRequest::Own { ttl_ms } if ttl_ms == self.left_ms)
    }
}

/// `namespace/name`.
pub(super) fn lock_of(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

/// A lease id from its text.
pub(super) fn lease_of(text: &str) -> Option<LeaseId> {
    text.parse().ok()
}
