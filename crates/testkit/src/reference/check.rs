//! What is malformed whatever the tables hold.

use leasehold_state_machine::{Acquire, LeaseRequest, Limits, Mode, NAMESPACE_BYTES_MAX, Outcome, Wait};

use super::{Model, invalid};

/// Empty, too long, or with control characters.
pub(super) fn is_bad_text(text: &str, bytes_max: usize) -> bool {
    text.is_empty() || text.len() > bytes_max || text.chars().any(char::is_control)
}

impl Model {
    /// The first bad field of an acquire.
    pub(super) fn check_acquire(&self, acquire: &Acquire) -> Option<Outcome> {
        let limits = self.limits_of(&acquire.namespace);
        let bad = bad_names(acquire, limits)
            .or_else(|| if is_convert(acquire) { bad_convert(acquire) } else { bad_fresh(acquire, limits) })
            .or_else(|| bad_rest(acquire, limits));
        bad.map(invalid)
    }
}

fn is_convert(acquire: &Acquire) -> bool {
    matches!(acquire.lease, LeaseRequest::Convert { .. })
}

fn bad_names(acquire: &Acquire, limits: &Limits) -> Option<String> {
    if is_bad_text(&acquire.namespace, NAMESPACE_BYTES_MAX) {
        return Some("namespace".into());
    }
    let locks = &acquire.locks;
    let most = limits.locks_per_acquire_max.min(limits.locks_per_lease_max) as usize;
    let most = if is_convert(acquire) { 1 } else { most };
    if locks.is_empty() || locks.len() > most {
        return Some("locks".into());
    }
    for (at, lock) in locks.iter().enumerate() {
        let twice = locks[..at].iter().any(|other| other.name == lock.name);
        if twice || is_bad_text(&lock.name, limits.name_bytes_max as usize) {
            return Some(format!("locks[{at}].name"));
        }
        if let Mode::Permits { permits, limit } = lock.mode {
            if permits == 0 || permits > limit {
                return Some(format!("locks[{at}].permits"));
            }
            if is_convert(acquire) {
                return Some(format!("locks[{at}].mode"));
            }
        }
    }
    None
}

/// A convert keeps what its grant has, and says nothing about it.
fn bad_convert(acquire: &Acquire) -> Option<String> {
    let field = if !acquire.owner.is_empty() {
        "owner"
    } else if !acquire.metadata.is_empty() {
        "metadata"
    } else if acquire.lock_delay_ms != 0 {
        "lock_delay_ms"
    } else if !acquire.value.is_empty() {
        "value"
    } else {
        return None;
    };
    Some(field.into())
}

fn bad_fresh(acquire: &Acquire, limits: &Limits) -> Option<String> {
    let of_session = matches!(acquire.lease, LeaseRequest::Session { .. });
    let no_owner = of_session && acquire.owner.is_empty();
    let field = if !no_owner && is_bad_text(&acquire.owner, limits.owner_bytes_max as usize) {
        "owner"
    } else if acquire.metadata.len() > limits.metadata_bytes_max as usize {
        "metadata"
    } else if acquire.lock_delay_ms > limits.lock_delay_ms_max {
        "lock_delay_ms"
    } else if acquire.value.len() > limits.value_bytes_max as usize {
        "value"
    } else {
        return None;
    };
    Some(field.into())
}

fn bad_rest(acquire: &Acquire, limits: &Limits) -> Option<String> {
    match acquire.lease {
        LeaseRequest::Own { ttl_ms } if ttl_ms < limits.ttl_ms_min || ttl_ms > limits.ttl_ms_max => {
            return Some("ttl_ms".into());
        }
        LeaseRequest::Session { session } if !session.is_session() => return Some("session".into()),
        LeaseRequest::Own { .. } | LeaseRequest::Session { .. } | LeaseRequest::Convert { .. } => {}
    }
    if let Some(actor) = &acquire.actor {
        let of_no_session = matches!(acquire.lease, LeaseRequest::Own { .. });
        if of_no_session || is_bad_text(actor, limits.actor_bytes_max as usize) {
            return Some("actor".into());
        }
    }
    match acquire.wait {
        Wait::For { wait_ms } if is_bad_wait(wait_ms, limits) => Some("wait_ms".into()),
        Wait::Try | Wait::For { .. } => None,
    }
}

pub(super) fn is_bad_wait(wait_ms: u64, limits: &Limits) -> bool {
    wait_ms == 0 || wait_ms > limits.wait_ms_max
}
