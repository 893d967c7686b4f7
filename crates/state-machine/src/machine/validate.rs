//! Checks of what a command says, field by field, with the paths of the .proto.

use std::collections::BTreeSet;
use std::fmt::Display;

use crate::{
    Acquire, LeaseRequest, Limits, LockRequest, Mode, NAMESPACE_BYTES_MAX, OpenSession, RELEASES_MAX, Refusal, Release,
    Wait,
};

pub(super) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Refusal {
    Refusal::Invalid { field: field.into(), problem: problem.into() }
}

pub(super) fn limit_reached(limit: &str, max: u64) -> Refusal {
    Refusal::LimitReached { limit: limit.to_owned(), max }
}

/// Not empty, no control characters, at most `bytes_max` bytes. The name of the field is written only into a refusal.
fn text(field: impl Display, text: &str, bytes_max: usize) -> Result<(), Refusal> {
    // Mostly so, and quicker to see than what follows.
    if !text.is_empty() && text.len() <= bytes_max && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(());
    }
    let field = field.to_string();
    if text.is_empty() {
        return Err(invalid(field, "must not be empty"));
    }
    if text.len() > bytes_max {
        return Err(invalid(field, format!("has {} bytes, at most {bytes_max} are allowed", text.len())));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid(field, "must not contain control characters"));
    }
    Ok(())
}

pub(super) fn namespace(namespace: &str) -> Result<(), Refusal> {
    text("namespace", namespace, NAMESPACE_BYTES_MAX)
}

/// Name of a lock that may be held already: its length is not looked at, as limits may have been lowered since.
pub(super) fn existing_lock(namespace: &str, name: &str) -> Result<(), Refusal> {
    text("namespace", namespace, usize::MAX)?;
    text("name", name, usize::MAX)
}

/// The parts of an acquire that name the request.
pub(super) fn identity(acquire: &Acquire) -> Result<(), Refusal> {
    if acquire.request.counter == 0 {
        return Err(invalid("request_id.counter", "counts from 1"));
    }
    if acquire.attempt == 0 {
        return Err(invalid("attempt", "counts from 1"));
    }
    if acquire.lowest_unanswered > acquire.request.counter {
        let problem = format!("is {}, above this request's own counter", acquire.lowest_unanswered);
        return Err(invalid("lowest_unanswered", problem));
    }
    Ok(())
}

pub(super) fn wait(wait: Wait, limits: &Limits) -> Result<(), Refusal> {
    match wait {
        Wait::Try => Ok(()),
        Wait::For { wait_ms } if (1..=limits.wait_ms_max).contains(&wait_ms) => Ok(()),
        Wait::For { wait_ms } => {
            Err(invalid("wait_ms", format!("is {wait_ms}, 1 to {} are allowed", limits.wait_ms_max)))
        }
    }
}

/// All that can be said of an acquire without looking at the tables.
pub(super) fn acquire(acquire: &Acquire, limits: &Limits) -> Result<(), Refusal> {
    namespace(&acquire.namespace)?;
    locks(&acquire.locks, limits)?;
    match acquire.lease {
        LeaseRequest::Own { ttl_ms } => {
            text("owner", &acquire.owner, limits.owner_bytes_max as usize)?;
            ttl(ttl_ms, limits)?;
            if acquire.actor.is_some() {
                return Err(invalid("actor", "needs a session"));
            }
        }
        LeaseRequest::Session { .. } => {
            if !acquire.owner.is_empty() {
                text("owner", &acquire.owner, limits.owner_bytes_max as usize)?;
            }
        }
        LeaseRequest::Convert { .. } => convert(acquire)?,
    }
    metadata(&acquire.metadata, limits)?;
    if let Some(actor) = &acquire.actor {
        text("actor", actor, limits.actor_bytes_max as usize)?;
    }
    if acquire.lock_delay_ms > limits.lock_delay_ms_max {
        let problem = format!("is {}, at most {} are allowed", acquire.lock_delay_ms, limits.lock_delay_ms_max);
        return Err(invalid("lock_delay_ms", problem));
    }
    value(&acquire.value, limits)?;
    wait(acquire.wait, limits)
}

fn locks(locks: &[LockRequest], limits: &Limits) -> Result<(), Refusal> {
    let locks_max = limits.locks_per_acquire_max.min(limits.locks_per_lease_max);
    if locks.is_empty() {
        return Err(invalid("locks", "must name at least one lock"));
    }
    if locks.len() as u64 > u64::from(locks_max) {
        return Err(invalid("locks", format!("names {} locks, at most {locks_max} are allowed", locks.len())));
    }
    let mut names = BTreeSet::new();
    for (at, lock) in locks.iter().enumerate() {
        text(format_args!("locks[{at}].name"), &lock.name, limits.name_bytes_max as usize)?;
        if locks.len() > 1 && !names.insert(lock.name.as_str()) {
            return Err(invalid(format!("locks[{at}].name"), "names a lock twice"));
        }
        if let Mode::Permits { permits, limit } = lock.mode {
            if limit == 0 {
                return Err(invalid(format!("locks[{at}].limit"), "must be at least 1"));
            }
            if !(1..=limit).contains(&permits) {
                let problem = format!("is {permits}, 1 to the limit of {limit} are allowed");
                return Err(invalid(format!("locks[{at}].permits"), problem));
            }
        }
    }
    Ok(())
}

/// A convert names one lock and nothing that its grant has already.
fn convert(acquire: &Acquire) -> Result<(), Refusal> {
    if acquire.locks.len() != 1 {
        return Err(invalid("locks", format!("names {} locks, a convert names exactly one", acquire.locks.len())));
    }
    if matches!(acquire.locks[0].mode, Mode::Permits { .. }) {
        return Err(invalid("locks[0].mode", "a convert is to shared or to exclusive"));
    }
    let kept = [
        ("owner", acquire.owner.is_empty()),
        ("metadata", acquire.metadata.is_empty()),
        ("lock_delay_ms", acquire.lock_delay_ms == 0),
        ("value", acquire.value.is_empty()),
    ];
    match kept.into_iter().find(|(_, empty)| !empty) {
        Some((field, _)) => Err(invalid(field, "must be empty: a convert keeps what its grant has")),
        None => Ok(()),
    }
}

fn ttl(ttl_ms: u64, limits: &Limits) -> Result<(), Refusal> {
    if (limits.ttl_ms_min..=limits.ttl_ms_max).contains(&ttl_ms) {
        return Ok(());
    }
    let problem = format!("is {ttl_ms}, {} to {} are allowed", limits.ttl_ms_min, limits.ttl_ms_max);
    Err(invalid("ttl_ms", problem))
}

fn at_most(field: &str, bytes: usize, bytes_max: u32) -> Result<(), Refusal> {
    if bytes as u64 <= u64::from(bytes_max) {
        return Ok(());
    }
    Err(invalid(field, format!("has {bytes} bytes, at most {bytes_max} are allowed")))
}

fn metadata(metadata: &str, limits: &Limits) -> Result<(), Refusal> {
    at_most("metadata", metadata.len(), limits.metadata_bytes_max)
}

/// The value of a grant.
pub(super) fn value(value: &[u8], limits: &Limits) -> Result<(), Refusal> {
    at_most("value", value.len(), limits.value_bytes_max)
}

/// Why somebody ends another's grant.
pub(super) fn force_reason(reason: &str, limits: &Limits) -> Result<(), Refusal> {
    text("reason", reason, limits.reason_bytes_max as usize)
}

/// The parts of a session that a client chooses, but its id.
pub(super) fn open_session(open: &OpenSession, limits: &Limits) -> Result<(), Refusal> {
    namespace(&open.namespace)?;
    ttl(open.ttl_ms, limits)?;
    text("owner", &open.owner, limits.owner_bytes_max as usize)?;
    metadata(&open.metadata, limits)
}

/// Which locks a release names.
pub(super) fn release(release: &Release) -> Result<(), Refusal> {
    let count = release.locks.len();
    if count == 0 || count > RELEASES_MAX {
        return Err(invalid("locks", format!("names {count} locks, 1 to {RELEASES_MAX} are allowed")));
    }
    if let [held] = release.locks.as_slice() {
        return existing_lock(&release.namespace, &held.name);
    }
    text("namespace", &release.namespace, usize::MAX)?;
    let mut tokens = BTreeSet::new();
    for (at, held) in release.locks.iter().enumerate() {
        text(format_args!("locks[{at}].name"), &held.name, usize::MAX)?;
        if !tokens.insert(held.token) {
            return Err(invalid(format!("locks[{at}].token"), "is named twice"));
        }
    }
    Ok(())
}
