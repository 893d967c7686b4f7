//! Locks as data: the same shapes in every verb.

use leasehold_client::{Holder, LockInfo, Waiter};
use serde_json::{Value, json};

use super::mode_name;
use crate::output::span_ms;

pub(super) fn holder_json(holder: &Holder) -> Value {
    json!({
        "token": holder.token.to_string(),
        "owner": holder.owner,
        "lease": holder.lease,
        "mode": mode_name(holder.mode()),
        "held_ms": holder.held_ms,
        "left_ms": holder.left_ms,
        "metadata": holder.metadata,
    })
}

fn waiter_json(waiter: &Waiter) -> Value {
    json!({
        "position": waiter.position,
        "owner": waiter.owner,
        "mode": mode_name(waiter.mode()),
        "waited_ms": waiter.waited_ms,
        "left_ms": waiter.left_ms,
    })
}

pub(super) fn lock_json(lock: &LockInfo) -> Value {
    json!({
        "namespace": lock.namespace,
        "name": lock.name,
        "holders": lock.holders.iter().map(holder_json).collect::<Vec<_>>(),
        "waiters": lock.waiters.iter().map(waiter_json).collect::<Vec<_>>(),
    })
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
