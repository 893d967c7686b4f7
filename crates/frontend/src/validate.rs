//! Early checks of what callers send, with the field's name as in the .proto. The machine checks the same again: it alone
//! decides, this gives the better message.

use leasehold_proto::v1;
use leasehold_state_machine::{
    Acquire, Attempt, LeaseId, LeaseRequest, Limits, LockRequest, Mode, NAMESPACE_BYTES_MAX, RENEWALS_MAX, RenewLease,
    RequestId, Wait,
};

use crate::CallError;

/// Namespace of requests that name none.
const NAMESPACE_DEFAULT: &str = "default";
/// Time to live of requests that name none.
const TTL_MS_DEFAULT: u64 = 30_000;
/// Locks of a page when the request does not say.
pub(crate) const PAGE_SIZE_DEFAULT: usize = 100;
/// The most locks of a page.
pub(crate) const PAGE_SIZE_MAX: usize = 1_000;

/// Text that is shown to others: not empty, bounded, printable.
fn text(field: &str, value: &str, bytes_max: usize) -> Result<(), CallError> {
    if value.is_empty() {
        return Err(CallError::invalid(field, "must not be empty"));
    }
    if value.len() > bytes_max {
        return Err(CallError::invalid(
            field,
            format!("is {} bytes long, at most {bytes_max} are allowed", value.len()),
        ));
    }
    if value.chars().any(char::is_control) {
        return Err(CallError::invalid(field, "must not contain control characters"));
    }
    Ok(())
}

/// The namespace of a request; empty means the default one.
pub(crate) fn namespace(value: String) -> Result<String, CallError> {
    if value.is_empty() {
        return Ok(NAMESPACE_DEFAULT.to_owned());
    }
    text("namespace", &value, NAMESPACE_BYTES_MAX)?;
    Ok(value)
}

/// The name of one lock.
pub(crate) fn lock_name(field: &str, value: &str, limits: &Limits) -> Result<(), CallError> {
    text(field, value, limits.name_bytes_max as usize)
}

/// The prefix of a listing: empty is all.
pub(crate) fn prefix(value: &str, limits: &Limits) -> Result<(), CallError> {
    if value.is_empty() { Ok(()) } else { lock_name("prefix", value, limits) }
}

/// The size of a page.
pub(crate) fn page_size(value: u32) -> Result<usize, CallError> {
    match value as usize {
        0 => Ok(PAGE_SIZE_DEFAULT),
        size if size <= PAGE_SIZE_MAX => Ok(size),
        size => Err(CallError::invalid("page_size", format!("{size} is above the highest of {PAGE_SIZE_MAX}"))),
    }
}

/// A lease id.
pub(crate) fn lease_id(field: &str, value: &str) -> Result<LeaseId, CallError> {
    value.parse::<LeaseId>().map_err(|error| CallError::invalid(field, error.to_string()))
}

/// A request id that the caller made.
pub(crate) fn request_id(value: v1::RequestId) -> Result<RequestId, CallError> {
    if value.counter == 0 {
        return Err(CallError::invalid("request_id.counter", "must be at least 1"));
    }
    Ok(RequestId { client: value.client, counter: value.counter })
}

/// Counts from 1; 0 stands for the first.
pub(crate) fn attempt(value: u32) -> Attempt {
    value.max(1)
}

/// The leases of a renewal, in their order.
pub(crate) fn renewals(leases: &[v1::RenewLease]) -> Result<Vec<RenewLease>, CallError> {
    if leases.is_empty() {
        return Err(CallError::invalid("leases", "must name at least one lease"));
    }
    if leases.len() > RENEWALS_MAX {
        return Err(CallError::invalid(
            "leases",
            format!("names {} leases, at most {RENEWALS_MAX} are allowed", leases.len()),
        ));
    }
    leases
        .iter()
        .enumerate()
        .map(|(i, renewal)| {
            let lease = lease_id(&format!("leases[{i}].lease"), &renewal.lease)?;
            Ok(RenewLease { lease, ttl_ms: (renewal.ttl_ms != 0).then_some(renewal.ttl_ms) })
        })
        .collect()
}

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
    let locks = locks(message.locks, limits)?;
    text("owner", &message.owner, limits.owner_bytes_max as usize)?;
    if message.metadata.len() > limits.metadata_bytes_max as usize {
        let (length, max) = (message.metadata.len(), limits.metadata_bytes_max);
        return Err(CallError::invalid("metadata", format!("is {length} bytes long, at most {max} are allowed")));
    }
    let ttl_ms = if message.ttl_ms == 0 { TTL_MS_DEFAULT } else { message.ttl_ms };
    if ttl_ms < limits.ttl_ms_min || ttl_ms > limits.ttl_ms_max {
        let problem = format!("{ttl_ms} is not between {} and {}", limits.ttl_ms_min, limits.ttl_ms_max);
        return Err(CallError::invalid("ttl_ms", problem));
    }
    let wait = match message.wait_ms {
        None => Wait::Try,
        Some(wait_ms) if (1..=limits.wait_ms_max).contains(&wait_ms) => Wait::For { wait_ms },
        Some(wait_ms) => {
            let problem =
                format!("{wait_ms} is not between 1 and {}; leave it out to try without waiting", limits.wait_ms_max);
            return Err(CallError::invalid("wait_ms", problem));
        }
    };
    Ok(Acquire {
        request,
        attempt: attempt(message.attempt),
        lowest_unanswered,
        namespace,
        locks,
        owner: message.owner,
        metadata: message.metadata,
        lease: LeaseRequest::Own { ttl_ms },
        wait,
    })
}

fn locks(requested: Vec<v1::LockRequest>, limits: &Limits) -> Result<Vec<LockRequest>, CallError> {
    if requested.is_empty() {
        return Err(CallError::invalid("locks", "must name at least one lock"));
    }
    let max = limits.locks_per_acquire_max as usize;
    if requested.len() > max {
        return Err(CallError::invalid("locks", format!("names {} locks, at most {max} are allowed", requested.len())));
    }
    let mut locks: Vec<LockRequest> = Vec::with_capacity(requested.len());
    for (i, lock) in requested.into_iter().enumerate() {
        lock_name(&format!("locks[{i}].name"), &lock.name, limits)?;
        let mode = mode(i, &lock)?;
        if locks.iter().any(|earlier| earlier.name == lock.name) {
            return Err(CallError::invalid(format!("locks[{i}].name"), "is named twice in this request"));
        }
        locks.push(LockRequest { name: lock.name, mode });
    }
    Ok(locks)
}

fn mode(i: usize, lock: &v1::LockRequest) -> Result<Mode, CallError> {
    match v1::Mode::try_from(lock.mode) {
        Ok(v1::Mode::Unspecified | v1::Mode::Exclusive) => {}
        Ok(mode @ (v1::Mode::Shared | v1::Mode::Permits)) => {
            let problem = format!("{} is not supported by this version yet", mode.as_str_name());
            return Err(CallError::invalid(format!("locks[{i}].mode"), problem));
        }
        Err(_) => return Err(CallError::invalid(format!("locks[{i}].mode"), format!("{} is no mode", lock.mode))),
    }
    for (field, value) in [("permits", lock.permits), ("limit", lock.limit)] {
        if value != 0 {
            return Err(CallError::invalid(format!("locks[{i}].{field}"), "belongs to MODE_PERMITS only"));
        }
    }
    Ok(Mode::Exclusive)
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
