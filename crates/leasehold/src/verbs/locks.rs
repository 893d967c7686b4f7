//! Locks as data: the same shapes in every verb.

use leasehold_client::{GrantInfo, HeldInfo, Holder, LockInfo, LockMode, Loss, LossInfo, LossReason, Mode, Waiter};
use serde::Serialize;

use super::{because, mode_name, reason_name, some_text};
use crate::output::{ValueJson, printable, span_ms};

/// A holder as JSON. Tokens are text: a 64-bit number does not survive every parser.
#[derive(Debug, Serialize)]
pub(super) struct HolderJson<'a> {
    token: String,
    owner: &'a str,
    lease: &'a str,
    #[serde(flatten)]
    mode: ModeJson,
    held_ms: u64,
    left_ms: u64,
    metadata: &'a str,
    actor: Option<&'a str>,
    version: u64,
    #[serde(flatten)]
    value: ValueJson,
}

impl<'a> From<&'a Holder> for HolderJson<'a> {
    fn from(holder: &'a Holder) -> Self {
        Self {
            token: holder.token.to_string(),
            owner: &holder.owner,
            lease: &holder.lease,
            mode: ModeJson::of(holder.mode(), holder.permits, holder.limit),
            held_ms: holder.held_ms,
            left_ms: holder.left_ms,
            metadata: &holder.metadata,
            actor: some_text(&holder.actor),
            version: holder.version,
            value: holder.value.as_slice().into(),
        }
    }
}

/// `mode`, and of permits how many of how many.
#[derive(Debug, Serialize)]
pub(super) struct ModeJson {
    mode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    permits: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
}

impl ModeJson {
    pub(super) fn of(mode: Mode, permits: u32, limit: u32) -> Self {
        let (permits, limit) = if mode == Mode::Permits { (Some(permits), Some(limit)) } else { (None, None) };
        Self { mode: mode_name(mode), permits, limit }
    }
}

impl From<LockMode> for ModeJson {
    fn from(mode: LockMode) -> Self {
        match mode {
            LockMode::Exclusive => Self::of(Mode::Exclusive, 0, 0),
            LockMode::Shared => Self::of(Mode::Shared, 0, 0),
            LockMode::Permits { permits, limit } => Self::of(Mode::Permits, permits, limit),
        }
    }
}

/// `shared`, or `permits 2/5`.
pub(super) fn mode_text(mode: Mode, permits: u32, limit: u32) -> String {
    if mode == Mode::Permits { format!("permits {permits}/{limit}") } else { mode_name(mode) }
}

pub(super) fn lock_mode_text(mode: LockMode) -> String {
    match mode {
        LockMode::Exclusive => mode_text(Mode::Exclusive, 0, 0),
        LockMode::Shared => mode_text(Mode::Shared, 0, 0),
        LockMode::Permits { permits, limit } => mode_text(Mode::Permits, permits, limit),
    }
}

/// A lock that was granted, as JSON.
#[derive(Debug, Serialize)]
pub(super) struct GrantJson<'a> {
    name: &'a str,
    #[serde(flatten)]
    mode: ModeJson,
    token: String,
}

impl<'a> From<&'a GrantInfo> for GrantJson<'a> {
    fn from(grant: &'a GrantInfo) -> Self {
        Self { name: &grant.name, mode: grant.mode.into(), token: grant.token.to_string() }
    }
}

#[derive(Debug, Serialize)]
struct WaiterJson<'a> {
    position: u32,
    owner: &'a str,
    #[serde(flatten)]
    mode: ModeJson,
    waited_ms: u64,
    left_ms: u64,
    lease: Option<&'a str>,
    actor: Option<&'a str>,
    metadata: &'a str,
    converts: Option<String>,
}

impl<'a> From<&'a Waiter> for WaiterJson<'a> {
    fn from(waiter: &'a Waiter) -> Self {
        Self {
            position: waiter.position,
            owner: &waiter.owner,
            mode: ModeJson::of(waiter.mode(), waiter.permits, waiter.limit),
            waited_ms: waiter.waited_ms,
            left_ms: waiter.left_ms,
            lease: some_text(&waiter.lease),
            actor: some_text(&waiter.actor),
            metadata: &waiter.metadata,
            converts: (waiter.converts != 0).then(|| waiter.converts.to_string()),
        }
    }
}

/// How a lock was lost, as JSON.
#[derive(Debug, Serialize)]
pub(super) struct LossJson<'a> {
    token: String,
    reason: Option<String>,
    note: &'a str,
    ago_ms: u64,
}

impl<'a> From<&'a LossInfo> for LossJson<'a> {
    fn from(loss: &'a LossInfo) -> Self {
        let reason = reason_name(loss.reason());
        Self { token: loss.token.to_string(), reason, note: &loss.note, ago_ms: loss.ago_ms }
    }
}

/// A lock as JSON.
#[derive(Debug, Serialize)]
pub(super) struct LockJson<'a> {
    namespace: &'a str,
    name: &'a str,
    holders: Vec<HolderJson<'a>>,
    holder_count: u32,
    waiters: Vec<WaiterJson<'a>>,
    waiter_count: u32,
    delay_left_ms: u64,
    last_lost: Option<LossJson<'a>>,
    revision: u64,
}

impl<'a> From<&'a LockInfo> for LockJson<'a> {
    fn from(lock: &'a LockInfo) -> Self {
        Self {
            namespace: &lock.namespace,
            name: &lock.name,
            holders: lock.holders.iter().map(Into::into).collect(),
            holder_count: lock.holder_count,
            waiters: lock.waiters.iter().map(Into::into).collect(),
            waiter_count: lock.waiter_count,
            delay_left_ms: lock.delay_left_ms,
            last_lost: lock.loss.as_ref().map(Into::into),
            revision: lock.revision,
        }
    }
}

/// How a grant was lost, in a sentence.
pub(super) fn loss_text(loss: &LossInfo) -> String {
    let why = because((loss.reason() != LossReason::Unspecified).then_some(loss.reason()));
    let note = if loss.note.is_empty() { String::new() } else { format!(" ({})", printable(&loss.note)) };
    format!("token {} was lost {} ago{why}{note}", loss.token, span_ms(loss.ago_ms))
}

/// Why this process no longer holds a lock; the words are those of others.
pub(super) fn why_text(loss: &Loss) -> String {
    printable(&loss.to_string())
}

/// Who is in the way, in a sentence.
pub(super) fn held_text(held: &HeldInfo) -> String {
    let name = printable(&held.name);
    let queue = match held.waiters {
        0 => String::new(),
        1 => "; 1 waits".to_owned(),
        count => format!("; {count} wait"),
    };
    let delay = match held.delay_left.is_zero() {
        true => String::new(),
        false => format!("; its lock-delay has {} left", crate::output::span(held.delay_left)),
    };
    let by_self = if held.by_self { "; the same session holds it" } else { "" };
    let others = match held.holders.len() {
        0 | 1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    match held.holders.first() {
        Some(holder) => {
            let Holder { owner, token, left_ms, .. } = holder;
            let (owner, left) = (printable(owner), span_ms(*left_ms));
            format!("{name} is held by {owner} (token {token}, {left} left){others}{by_self}{delay}{queue}")
        }
        None => format!("{name} was not acquired{delay}{queue}"),
    }
}
