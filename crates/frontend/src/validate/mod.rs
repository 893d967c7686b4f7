//! Early checks of what callers send, with the field's name as in the .proto. The machine checks the same again: it alone
//! decides, this gives the better message.

mod acquire;
mod lease;
#[cfg(test)]
mod tests;

use std::fmt::Display;

use leasehold_proto::v1;
use leasehold_state_machine::{
    Attempt, FencingToken, HeldLock, LeaseId, Limits, NAMESPACE_BYTES_MAX, RELEASES_MAX, RequestId, Revision,
};

pub(crate) use self::acquire::acquire;
pub(crate) use self::lease::{open_session, renewals};
use crate::CallError;
use crate::watch::{Filter, Target};

/// Namespace of requests that name none.
const NAMESPACE_DEFAULT: &str = "default";
/// Time to live of requests that name none.
const TTL_MS_DEFAULT: u64 = 30_000;
/// Locks, or sessions, of a page when the request does not say.
pub(crate) const PAGE_SIZE_DEFAULT: usize = 100;
/// The most of a page.
pub(crate) const PAGE_SIZE_MAX: usize = 1_000;

/// Text that is shown to others: not empty, bounded, printable. The name of the field is written only into an error.
fn text(field: impl Display, value: &str, bytes_max: u32) -> Result<(), CallError> {
    if value.is_empty() {
        return Err(CallError::invalid(field.to_string(), "must not be empty"));
    }
    length(&field, value.len(), bytes_max)?;
    if value.chars().any(char::is_control) {
        return Err(CallError::invalid(field.to_string(), "must not contain control characters"));
    }
    Ok(())
}

fn length(field: impl Display, length: usize, bytes_max: u32) -> Result<(), CallError> {
    if length <= bytes_max as usize {
        return Ok(());
    }
    Err(CallError::invalid(field.to_string(), format!("is {length} bytes long, at most {bytes_max} are allowed")))
}

/// The namespace of a request; empty means the default one.
pub(crate) fn namespace(value: String) -> Result<String, CallError> {
    if value.is_empty() {
        return Ok(NAMESPACE_DEFAULT.to_owned());
    }
    text("namespace", &value, NAMESPACE_BYTES_MAX as u32)?;
    Ok(value)
}

/// The name of one lock.
pub(crate) fn lock_name(field: impl Display, value: &str, limits: &Limits) -> Result<(), CallError> {
    text(field, value, limits.name_bytes_max)
}

/// The prefix of a listing or a watch: empty is all.
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

/// The id of a session.
pub(crate) fn session_id(field: &str, value: &str) -> Result<LeaseId, CallError> {
    match value.parse::<LeaseId>() {
        Ok(id) if id.is_session() => Ok(id),
        Ok(_) => {
            let problem = "must be 128 bits chosen at random: 32 hexadecimal digits, the first 16 not all zero";
            Err(CallError::invalid(field, problem))
        }
        Err(_) => {
            let problem = format!("must be 32 hexadecimal digits, this has {} characters", value.chars().count());
            Err(CallError::invalid(field, problem))
        }
    }
}

/// A fencing token.
pub(crate) fn token(field: &str, value: u64) -> Result<FencingToken, CallError> {
    if value == 0 {
        return Err(CallError::invalid(field, "must not be 0: no lock is ever given token 0"));
    }
    Ok(FencingToken(value))
}

/// The value of a grant.
pub(crate) fn value(value: &[u8], limits: &Limits) -> Result<(), CallError> {
    length("value", value.len(), limits.value_bytes_max)
}

/// Why a grant is ended by force.
pub(crate) fn reason(value: &str, limits: &Limits) -> Result<(), CallError> {
    text("reason", value, limits.reason_bytes_max)
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

/// The locks of a release: one by `name` and `token`, or several by `locks`.
pub(crate) fn releases(message: &v1::ReleaseRequest, limits: &Limits) -> Result<Vec<HeldLock>, CallError> {
    if message.locks.is_empty() {
        lock_name("name", &message.name, limits)?;
        return Ok(vec![HeldLock { name: message.name.clone(), token: token("token", message.token)? }]);
    }
    for (field, given) in [("name", !message.name.is_empty()), ("token", message.token != 0)] {
        if given {
            return Err(CallError::invalid(field, "must be left out where there are `locks`"));
        }
    }
    let count = message.locks.len();
    if count > RELEASES_MAX {
        return Err(CallError::invalid("locks", format!("names {count} locks, at most {RELEASES_MAX} are allowed")));
    }
    let mut tokens = std::collections::BTreeSet::new();
    let one = |(i, lock): (usize, &v1::HeldLock)| {
        lock_name(format_args!("locks[{i}].name"), &lock.name, limits)?;
        let field = format!("locks[{i}].token");
        let token = token(&field, lock.token)?;
        if !tokens.insert(token) {
            return Err(CallError::invalid(field, "is named twice in this request"));
        }
        Ok(HeldLock { name: lock.name.clone(), token })
    };
    message.locks.iter().enumerate().map(one).collect()
}

/// What a watch is about, and after which revision it begins.
pub(crate) fn watch(
    message: v1::WatchRequest,
    limits: impl FnOnce(&str) -> Limits,
) -> Result<(Filter, Option<Revision>), CallError> {
    use v1::watch_request::Target as Asked;
    let namespace = namespace(message.namespace)?;
    let limits = limits(&namespace);
    let target = match message.target {
        None => Target::Namespace,
        Some(Asked::Name(name)) => {
            lock_name("name", &name, &limits)?;
            Target::Lock(name)
        }
        Some(Asked::Prefix(text)) => {
            prefix(&text, &limits)?;
            Target::Prefix(text)
        }
        Some(Asked::Session(id)) => Target::Session(session_id("session", &id)?),
    };
    let after = message.after.map(|after| Revision { index: after.index, ordinal: after.ordinal });
    Ok((Filter { namespace, target }, after))
}
