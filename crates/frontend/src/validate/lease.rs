//! Leases and sessions.

use leasehold_proto::v1;
use leasehold_state_machine::{Limits, OpenSession, RENEWALS_MAX, RenewLease};

use super::{TTL_MS_DEFAULT, lease_id, length, session_id, text, token};
use crate::CallError;

/// A time to live.
pub(super) fn ttl(field: &str, ttl_ms: u64, limits: &Limits) -> Result<(), CallError> {
    if (limits.ttl_ms_min..=limits.ttl_ms_max).contains(&ttl_ms) {
        return Ok(());
    }
    let problem = format!("{ttl_ms} is not between {} and {}", limits.ttl_ms_min, limits.ttl_ms_max);
    Err(CallError::invalid(field, problem))
}

/// A session to open.
pub(crate) fn open_session(
    message: v1::OpenSessionRequest,
    namespace: String,
    limits: &Limits,
) -> Result<OpenSession, CallError> {
    let session = session_id("session", &message.session)?;
    let ttl_ms = if message.ttl_ms == 0 { TTL_MS_DEFAULT } else { message.ttl_ms };
    ttl("ttl_ms", ttl_ms, limits)?;
    text("owner", &message.owner, limits.owner_bytes_max)?;
    length("metadata", message.metadata.len(), limits.metadata_bytes_max)?;
    Ok(OpenSession { session, namespace, ttl_ms, owner: message.owner, metadata: message.metadata })
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
    let one = |(i, renewal): (usize, &v1::RenewLease)| {
        let lease = lease_id(&format!("leases[{i}].lease"), &renewal.lease)?;
        let ttl_ms = (renewal.ttl_ms != 0).then_some(renewal.ttl_ms);
        let exact = match renewal.exact_for_token {
            0 => None,
            exact => Some(token("exact_for_token", exact)?),
        };
        if exact.is_some() && ttl_ms.is_none() {
            let problem = "is required with `exact_for_token`: the lease is to end exactly so long from now";
            return Err(CallError::invalid(format!("leases[{i}].ttl_ms"), problem));
        }
        Ok(RenewLease { lease, ttl_ms, exact })
    };
    leases.iter().enumerate().map(one).collect()
}
