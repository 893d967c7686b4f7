//! Checks of what a command says, field by field, with the paths of the .proto.

use std::collections::BTreeSet;

use crate::{Acquire, LeaseRequest, Limits, NAMESPACE_BYTES_MAX, Refusal, Wait};

pub(super) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Refusal {
    Refusal::Invalid { field: field.into(), problem: problem.into() }
}

pub(super) fn limit_reached(limit: &str, max: u64) -> Refusal {
    Refusal::LimitReached { limit: limit.to_owned(), max }
}

/// Not empty, no control characters, at most `bytes_max` bytes.
fn text(field: &str, text: &str, bytes_max: usize) -> Result<(), Refusal> {
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
    let locks_max = limits.locks_per_acquire_max.min(limits.locks_per_lease_max);
    if acquire.locks.is_empty() {
        return Err(invalid("locks", "must name at least one lock"));
    }
    if acquire.locks.len() as u64 > u64::from(locks_max) {
        return Err(invalid("locks", format!("names {} locks, at most {locks_max} are allowed", acquire.locks.len())));
    }
    let mut names = BTreeSet::new();
    for (at, lock) in acquire.locks.iter().enumerate() {
        let field = format!("locks[{at}].name");
        text(&field, &lock.name, limits.name_bytes_max as usize)?;
        if !names.insert(lock.name.as_str()) {
            return Err(invalid(field, "names a lock twice"));
        }
    }
    text("owner", &acquire.owner, limits.owner_bytes_max as usize)?;
    if acquire.metadata.len() as u64 > u64::from(limits.metadata_bytes_max) {
        let problem =
            format!("has {} bytes, at most {} are allowed", acquire.metadata.len(), limits.metadata_bytes_max);
        return Err(invalid("metadata", problem));
    }
    let LeaseRequest::Own { ttl_ms } = acquire.lease;
    if !(limits.ttl_ms_min..=limits.ttl_ms_max).contains(&ttl_ms) {
        let problem = format!("is {ttl_ms}, {} to {} are allowed", limits.ttl_ms_min, limits.ttl_ms_max);
        return Err(invalid("ttl_ms", problem));
    }
    wait(acquire.wait, limits)
}
