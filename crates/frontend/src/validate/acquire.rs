//! An acquire: of new locks, under a lease of its own or a session, or a convert.

use leasehold_proto::v1;
use leasehold_state_machine::{Acquire, LeaseRequest, Limits, LockRequest, Mode, RequestId, Wait};

use super::{TTL_MS_DEFAULT, attempt, length, lock_name, session_id, text, token, value};
use crate::CallError;

/// An acquire, apart from its identity: `request` and `lowest` are what the caller sent, or what the node made up.
pub(crate) fn acquire(
    message: v1::AcquireRequest,
    namespace: String,
    request: RequestId,
    lowest: u64,
    limits: &Limits,
) -> Result<Acquire, CallError> {
    let lowest_unanswered = if lowest == 0 { request.counter } else { lowest };
    if lowest_unanswered > request.counter {
        let problem = format!("{lowest_unanswered} is above this request's counter, {}", request.counter);
        return Err(CallError::invalid("lowest_unanswered", problem));
    }
    let lease = lease(&message, limits)?;
    let locks = locks(&message.locks, limits)?;
    match lease {
        LeaseRequest::Convert { .. } => convert(&message, &locks)?,
        LeaseRequest::Own { .. } => text("owner", &message.owner, limits.owner_bytes_max)?,
        // Empty means the session's owner.
        LeaseRequest::Session { .. } if message.owner.is_empty() => {}
        LeaseRequest::Session { .. } => text("owner", &message.owner, limits.owner_bytes_max)?,
    }
    length("metadata", message.metadata.len(), limits.metadata_bytes_max)?;
    value(&message.value, limits)?;
    if message.lock_delay_ms > limits.lock_delay_ms_max {
        let problem = format!("{} is above the highest of {}", message.lock_delay_ms, limits.lock_delay_ms_max);
        return Err(CallError::invalid("lock_delay_ms", problem));
    }
    let actor = (!message.actor.is_empty()).then_some(message.actor);
    if let Some(actor) = &actor {
        text("actor", actor, limits.actor_bytes_max)?;
        if matches!(lease, LeaseRequest::Own { .. }) {
            return Err(CallError::invalid("actor", "names a task of a session: only with `session` or `replaces`"));
        }
    }
    Ok(Acquire {
        request,
        attempt: attempt(message.attempt),
        lowest_unanswered,
        namespace,
        locks,
        owner: message.owner,
        metadata: message.metadata,
        lease,
        wait: wait(message.wait_ms, limits)?,
        actor,
        lock_delay_ms: message.lock_delay_ms,
        value: message.value.into(),
    })
}

fn lease(message: &v1::AcquireRequest, limits: &Limits) -> Result<LeaseRequest, CallError> {
    let lease = match (message.session.as_str(), message.replaces) {
        ("", 0) => {
            let ttl_ms = if message.ttl_ms == 0 { TTL_MS_DEFAULT } else { message.ttl_ms };
            super::lease::ttl("ttl_ms", ttl_ms, limits)?;
            return Ok(LeaseRequest::Own { ttl_ms });
        }
        ("", replaces) => LeaseRequest::Convert { token: token("replaces", replaces)? },
        (session, 0) => LeaseRequest::Session { session: session_id("session", session)? },
        (_, _) => {
            let problem = "must be left out of a convert (`replaces`): the new grant keeps the lease of the old one";
            return Err(CallError::invalid("session", problem));
        }
    };
    if message.ttl_ms != 0 {
        let problem = "must be 0 with `session` or `replaces`: the grant hangs on a lease that is there already";
        return Err(CallError::invalid("ttl_ms", problem));
    }
    Ok(lease)
}

/// What only a convert must or must not say.
fn convert(message: &v1::AcquireRequest, locks: &[LockRequest]) -> Result<(), CallError> {
    if locks.len() != 1 {
        return Err(CallError::invalid("locks", format!("a convert names one lock, this names {}", locks.len())));
    }
    if matches!(locks[0].mode, Mode::Permits { .. }) {
        let problem = "a convert is to MODE_SHARED or MODE_EXCLUSIVE; permits cannot be converted";
        return Err(CallError::invalid("locks[0].mode", problem));
    }
    let given = [
        ("owner", !message.owner.is_empty()),
        ("metadata", !message.metadata.is_empty()),
        ("lock_delay_ms", message.lock_delay_ms != 0),
        ("value", !message.value.is_empty()),
    ];
    match given.iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((field, _)) => {
            Err(CallError::invalid(*field, "must be left out of a convert: the new grant keeps that of the old one"))
        }
    }
}

fn wait(wait_ms: Option<u64>, limits: &Limits) -> Result<Wait, CallError> {
    match wait_ms {
        None => Ok(Wait::Try),
        Some(wait_ms) if (1..=limits.wait_ms_max).contains(&wait_ms) => Ok(Wait::For { wait_ms }),
        Some(wait_ms) => {
            let problem =
                format!("{wait_ms} is not between 1 and {}; leave it out to try without waiting", limits.wait_ms_max);
            Err(CallError::invalid("wait_ms", problem))
        }
    }
}

fn locks(requested: &[v1::LockRequest], limits: &Limits) -> Result<Vec<LockRequest>, CallError> {
    if requested.is_empty() {
        return Err(CallError::invalid("locks", "must name at least one lock"));
    }
    let max = limits.locks_per_acquire_max as usize;
    if requested.len() > max {
        return Err(CallError::invalid("locks", format!("names {} locks, at most {max} are allowed", requested.len())));
    }
    let mut locks: Vec<LockRequest> = Vec::with_capacity(requested.len());
    for (i, lock) in requested.iter().enumerate() {
        lock_name(format_args!("locks[{i}].name"), &lock.name, limits)?;
        let mode = mode(i, lock)?;
        if locks.iter().any(|earlier| earlier.name == lock.name) {
            return Err(CallError::invalid(format!("locks[{i}].name"), "is named twice in this request"));
        }
        locks.push(LockRequest { name: lock.name.clone(), mode });
    }
    Ok(locks)
}

fn mode(i: usize, lock: &v1::LockRequest) -> Result<Mode, CallError> {
    let bad = |field: &str, problem: String| Err(CallError::invalid(format!("locks[{i}].{field}"), problem));
    let (permits, limit) = (lock.permits, lock.limit);
    let plain = match v1::Mode::try_from(lock.mode) {
        Ok(v1::Mode::Unspecified | v1::Mode::Exclusive) => Mode::Exclusive,
        Ok(v1::Mode::Shared) => Mode::Shared,
        Ok(v1::Mode::Permits) if limit == 0 => return bad("limit", "must be at least 1 with MODE_PERMITS".into()),
        Ok(v1::Mode::Permits) if permits == 0 => return bad("permits", "must be at least 1 with MODE_PERMITS".into()),
        Ok(v1::Mode::Permits) if permits > limit => {
            return bad("permits", format!("{permits} is above the lock's limit of {limit}"));
        }
        Ok(v1::Mode::Permits) => return Ok(Mode::Permits { permits, limit }),
        Err(_) => return bad("mode", format!("{} is no mode", lock.mode)),
    };
    for (field, value) in [("permits", permits), ("limit", limit)] {
        if value != 0 {
            return bad(field, "belongs to MODE_PERMITS only".into());
        }
    }
    Ok(plain)
}
