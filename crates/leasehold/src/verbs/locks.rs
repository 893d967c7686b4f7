//! Locks as data: the same shapes in every verb.

use leasehold_client::{Holder, LockInfo, Waiter};
use serde::Serialize;

use super::mode_name;
use crate::output::span_ms;

/// A holder as JSON. Tokens are text: a 64-bit number does not survive every parser.
#[derive(Debug, Serialize)]
pub(super) struct HolderJson<'a> {
    token: String,
    owner: &'a str,
    lease: &'a str,
    mode: String,
    held_ms: u64,
    left_ms: u64,
    metadata: &'a str,
}

impl<'a> From<&'a Holder> for HolderJson<'a> {
    fn from(holder: &'a Holder) -> Self {
        Self {
            token: holder.token.to_string(),
            owner: &holder.owner,
            lease: &holder.lease,
            mode: mode_name(holder.mode()),
            held_ms: holder.held_ms,
            left_ms: holder.left_ms,
            metadata: &holder.metadata,
        }
    }
}

#[derive(Debug, Serialize)]
struct WaiterJson<'a> {
    position: u32,
    owner: &'a str,
    mode: String,
    waited_ms: u64,
    left_ms: u64,
}

impl<'a> From<&'a Waiter> for WaiterJson<'a> {
    fn from(waiter: &'a Waiter) -> Self {
        Self {
            position: waiter.position,
            owner: &waiter.owner,
            mode: mode_name(waiter.mode()),
            waited_ms: waiter.waited_ms,
            left_ms: waiter.left_ms,
        }
    }
}

/// A lock as JSON.
#[derive(Debug, Serialize)]
pub(super) struct LockJson<'a> {
    namespace: &'a str,
    name: &'a str,
    holders: Vec<HolderJson<'a>>,
    waiters: Vec<WaiterJson<'a>>,
}

impl<'a> From<&'a LockInfo> for LockJson<'a> {
    fn from(lock: &'a LockInfo) -> Self {
        Self {
            namespace: &lock.namespace,
            name: &lock.name,
            holders: lock.holders.iter().map(Into::into).collect(),
            waiters: lock.waiters.iter().map(Into::into).collect(),
        }
    }
}

/// Who is in the way, in a sentence.
pub(super) fn held_text(name: &str, holder: Option<&Holder>, waiters: u32) -> String {
    let queue = match waiters {
        0 => String::new(),
        1 => ", 1 waits".to_owned(),
        count => format!(", {count} wait"),
    };
    match holder {
        Some(Holder { owner, token, left_ms, .. }) => {
            let owner = owner.escape_debug();
            format!("{name} is held by {owner} (token {token}, {} left{queue})", span_ms(*left_ms))
        }
        None => format!("{name} was not acquired{queue}"),
    }
}
