//! Events of the log as watchers are told of them.

use leasehold_proto::v1;
use leasehold_state_machine::{Event, EventKind, LeaseId, LossReason};

use super::{WireMode, loss_reason, revision, wire_mode};

/// Appends what watchers of a namespace are told of an event: one for each lock whose name is `wanted`. Events that concern
/// no lock in particular have no name; leases that are no sessions are told of by their grants.
pub(crate) fn push_watch_events(event: &Event, wanted: impl Fn(&str) -> bool, out: &mut Vec<v1::WatchEvent>) {
    let base = |kind: v1::EventType| v1::WatchEvent {
        revision: Some(revision(event.revision)),
        at_ms: event.at.0,
        namespace: event.namespace.to_string(),
        r#type: kind.into(),
        ..Default::default()
    };
    let lease_text = |lease: &Option<LeaseId>| lease.map(|lease| lease.to_string()).unwrap_or_default();
    match &event.kind {
        EventKind::Granted { granted, owner, .. } => {
            out.extend(granted.grants.iter().filter(|lock| wanted(&lock.name)).map(|lock| v1::WatchEvent {
                name: lock.name.clone(),
                token: lock.token.0,
                lease: granted.lease.to_string(),
                owner: owner.to_string(),
                ..base(v1::EventType::Granted).held(wire_mode(lock.mode))
            }));
        }
        EventKind::Queued { locks, owner, lease, .. } => {
            out.extend(locks.iter().filter(|lock| wanted(&lock.name)).map(|lock| v1::WatchEvent {
                name: lock.name.clone(),
                lease: lease_text(lease),
                owner: owner.to_string(),
                ..base(v1::EventType::Queued).held(wire_mode(lock.mode))
            }));
        }
        EventKind::WaitEnded { reason, names, owner, lease, .. } => {
            out.extend(names.iter().filter(|name| wanted(name)).map(|name| v1::WatchEvent {
                name: name.clone(),
                lease: lease_text(lease),
                owner: owner.to_string(),
                reason: loss_reason(Some(*reason)).into(),
                ..base(v1::EventType::WaitEnded)
            }));
        }
        EventKind::Lost { name, token, mode, lease, owner, reason, note } if wanted(name) => out.push(v1::WatchEvent {
            name: name.clone(),
            token: token.0,
            lease: lease.to_string(),
            owner: owner.to_string(),
            reason: loss_reason(Some(*reason)).into(),
            note: note.clone(),
            ..base(loss_type(*reason)).held(wire_mode(*mode))
        }),
        EventKind::Converted { name, replaced, token, mode, lease, owner } if wanted(name) => {
            out.push(v1::WatchEvent {
                name: name.clone(),
                token: token.0,
                replaced: replaced.0,
                lease: lease.to_string(),
                owner: owner.to_string(),
                ..base(v1::EventType::Converted).held(wire_mode(*mode))
            })
        }
        EventKind::ValueSet { name, token, lease, version, value } if wanted(name) => out.push(v1::WatchEvent {
            name: name.clone(),
            token: token.0,
            lease: lease.to_string(),
            version: *version,
            value: value.to_vec(),
            ..base(v1::EventType::ValueSet)
        }),
        EventKind::SessionOpened { lease, owner } => out.push(v1::WatchEvent {
            lease: lease.to_string(),
            owner: owner.to_string(),
            ..base(v1::EventType::SessionOpened)
        }),
        EventKind::LeaseEnded { lease, owner, reason } if lease.is_session() => out.push(v1::WatchEvent {
            lease: lease.to_string(),
            owner: owner.to_string(),
            reason: loss_reason(Some(*reason)).into(),
            ..base(v1::EventType::SessionLost)
        }),
        EventKind::Lost { .. }
        | EventKind::Converted { .. }
        | EventKind::ValueSet { .. }
        | EventKind::LeaseEnded { .. } => {}
    }
}

fn loss_type(reason: LossReason) -> v1::EventType {
    match reason {
        LossReason::Released => v1::EventType::Released,
        LossReason::Expired => v1::EventType::Expired,
        LossReason::Forced => v1::EventType::ForceReleased,
        LossReason::Cancelled | LossReason::LeaseClosed | LossReason::Converted => v1::EventType::Lost,
    }
}

trait Held {
    fn held(self, mode: WireMode) -> Self;
}

impl Held for v1::WatchEvent {
    fn held(self, WireMode { mode, permits, limit }: WireMode) -> Self {
        Self { mode, permits, limit, ..self }
    }
}
