//! The evidence, sorted once for all checks.

use std::collections::BTreeMap;

use leasehold_state_machine::RequestId;

use super::model::Replay;
use super::{Bounds, Evidence};
use crate::dump::{Command, Entry, Lease, NodeLog, Operation, Outcome, Renewed};
use crate::history::{Call, Fault, Record, Response};

/// The evidence, sorted.
pub(super) struct Facts<'a> {
    pub(super) nodes: &'a [NodeLog],
    pub(super) bounds: &'a Bounds,
    pub(super) faults: &'a [Fault],
    pub(super) records: &'a [Record],
    /// Grants that a client heard of, by token.
    pub(super) seen: BTreeMap<u64, Seen<'a>>,
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
    pub(super) renewals: Vec<&'a Record>,
    pub(super) releases: Vec<&'a Record>,
    pub(super) cancels: Vec<&'a Record>,
    /// Moments at which the client was sure to hold it.
    pub(super) beliefs: Vec<&'a Record>,
}

impl<'a> Seen<'a> {
    /// The acquire that was answered with this token.
    pub(super) fn acquire(&self) -> Option<&'a Record> {
        self.acquires.first().copied()
    }

    /// The client gave it up, or tried to.
    pub(super) fn gave_up(&self) -> impl Iterator<Item = &'a Record> + '_ {
        self.releases.iter().chain(&self.cancels).copied()
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

/// The commands of one log, by what they name.
pub(super) struct LogFacts<'a> {
    pub(super) log: &'a NodeLog,
    pub(super) whole: bool,
    pub(super) acquires: BTreeMap<RequestId, Vec<(&'a crate::dump::Acquire, Applied<'a>)>>,
    pub(super) cancels: BTreeMap<RequestId, Vec<(u32, Applied<'a>)>>,
    pub(super) releases: BTreeMap<u64, Vec<Applied<'a>>>,
    pub(super) renewals: BTreeMap<Lease, Vec<(Applied<'a>, &'a Renewed)>>,
    pub(super) closes: BTreeMap<Lease, Vec<Applied<'a>>>,
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
            log: fullest.map(LogFacts::gather),
            replay,
            disagreement,
        }
    }

    /// Whether the log leaves it open, or confirms, that a command ended the grant (and not its lease's time).
    pub(super) fn ended_by_command(&self, token: u64) -> bool {
        self.replay.as_ref().and_then(|replay| replay.grant(token)).is_none_or(|grant| grant.ended_by_command())
    }
}

fn gather_seen(records: &[Record]) -> BTreeMap<u64, Seen<'_>> {
    let mut seen: BTreeMap<u64, Seen<'_>> = BTreeMap::new();
    let mut tokens_of: BTreeMap<RequestId, u64> = BTreeMap::new();
    for record in records {
        match &record.call {
            Call::Acquire(acquire) => {
                if let Response::Granted { token, .. } = record.response {
                    seen.entry(token).or_default().acquires.push(record);
                    if let Some(request) = acquire.request {
                        tokens_of.insert(request, token);
                    }
                }
            }
            Call::Renew(renew) => {
                if let Some(token) = renew.token {
                    seen.entry(token).or_default().renewals.push(record);
                }
            }
            Call::Release(release) => seen.entry(release.token).or_default().releases.push(record),
            Call::Believe { token } => seen.entry(*token).or_default().beliefs.push(record),
            Call::ForceRelease(force) => seen.entry(force.token).or_default().releases.push(record),
            Call::OpenSession(_) | Call::CloseLease(_) | Call::SetValue { .. } | Call::Cancel(_) | Call::Get => {}
        }
    }
    for record in records {
        if let Call::Cancel(request) = &record.call
            && let Some(token) = tokens_of.get(request)
        {
            seen.entry(*token).or_default().cancels.push(record);
        }
    }
    seen
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
            closes: BTreeMap::new(),
        };
        for entry in log.committed() {
            for (ordinal, (command, outcome)) in entry.commands.iter().zip(&entry.outcomes).enumerate() {
                facts.add(command, Applied { entry, ordinal, outcome });
            }
        }
        facts
    }

    fn add(&mut self, command: &'a Command, applied: Applied<'a>) {
        match &command.operation {
            Operation::Acquire(acquire) => {
                self.acquires.entry(acquire.request).or_default().push((acquire, applied));
            }
            Operation::CancelAcquire { request, attempt } => {
                self.cancels.entry(*request).or_default().push((*attempt, applied));
            }
            Operation::Release { token, .. } => self.releases.entry(*token).or_default().push(applied),
            Operation::Renew { leases } => {
                if let Outcome::Renewed(renewed) = applied.outcome {
                    for (asked, got) in leases.iter().zip(renewed) {
                        self.renewals.entry(asked.lease).or_default().push((applied, got));
                    }
                }
            }
            Operation::CloseLease { lease } => self.closes.entry(*lease).or_default().push(applied),
            Operation::Found { .. } | Operation::Tick | Operation::SetLimits(_) | Operation::SetLevel(_) => {}
        }
    }

    /// Grants that an acquire's own entry made or repeated: `(request, token, lock, lease, left, confirm, entry)`.
    pub(super) fn outright_grants(&self) -> impl Iterator<Item = OutrightGrant<'a>> + '_ {
        self.acquires.iter().flat_map(|(request, sends)| {
            sends.iter().flat_map(|(acquire, applied)| match applied.outcome {
                Outcome::Granted { lease, grants, left_ms, confirm } => grants
                    .iter()
                    .map(|grant| OutrightGrant {
                        request: *request,
                        token: grant.token,
                        lock: lock_of(&acquire.namespace, &grant.name),
                        lease: *lease,
                        left_ms: *left_ms,
                        confirm: *confirm,
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
    pub(super) token: u64,
    pub(super) lock: String,
    pub(super) lease: Lease,
    pub(super) left_ms: u64,
    pub(super) confirm: bool,
    pub(super) applied: Applied<'a>,
}

/// `namespace/name`.
pub(super) fn lock_of(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}
