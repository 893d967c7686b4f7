//! What Redis allows and a lock service had better not: decided by configuration, and never silently.

use leasehold_redis::Effect;
use leasehold_state_machine::Limits;
use tracing::warn;

use super::errors::Failure;
use super::execute::Caller;
use crate::metrics::{self, Door};
use crate::{DelWithoutOwnerCheck, RedisOptions, SetWithoutTtl};

/// Something that a policy let through, as counted and logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowed(pub(super) &'static str);

const SET_WITHOUT_TTL: Allowed = Allowed("set_without_ttl");
const DEL_WITHOUT_OWNER_CHECK: Allowed = Allowed("del_without_owner_check");
const EXPIRE_WITHOUT_OWNER_CHECK: Allowed = Allowed("expire_without_owner_check");

/// The time to live of an acquire.
pub(super) fn ttl(
    asked: Option<u64>,
    options: &RedisOptions,
    limits: &Limits,
) -> Result<(u64, Option<Allowed>), Failure> {
    let given = match (asked, options.set_without_ttl) {
        (Some(ttl_ms), _) => return Ok((ttl_ms, None)),
        (None, SetWithoutTtl::Cap(cap)) => u64::try_from(cap.as_millis()).unwrap_or(u64::MAX),
        (None, SetWithoutTtl::Allow) => limits.ttl_ms_max,
        (None, SetWithoutTtl::Refuse) => {
            return Err(Failure::refused(
                SET_WITHOUT_TTL.0,
                "a lock without a time to live is refused here: it would outlive a crashed holder for ever. Set one (PX or EX), \
                 or see the setting set-without-ttl",
            ));
        }
    };
    Ok((given.clamp(limits.ttl_ms_min, limits.ttl_ms_max), Some(SET_WITHOUT_TTL)))
}

/// The keys of an effect whose owner was not compared, and what that is called; or that it is refused.
pub(super) fn unchecked<'a>(
    effect: &'a Effect,
    options: &RedisOptions,
) -> Result<Option<(Allowed, &'a [usize])>, Failure> {
    let (what, keys, deed) = match effect {
        Effect::Release { unchecked, .. } => (DEL_WITHOUT_OWNER_CHECK, unchecked, "deleting"),
        Effect::Extend { unchecked, .. } => (EXPIRE_WITHOUT_OWNER_CHECK, unchecked, "shortening the time to live of"),
        Effect::None | Effect::Acquire { .. } => return Ok(None),
    };
    match options.del_without_owner_check {
        _ if keys.is_empty() => Ok(None),
        DelWithoutOwnerCheck::Allow => Ok(Some((what, keys))),
        DelWithoutOwnerCheck::Refuse => Err(Failure::refused(
            what.0,
            format!(
                "{deed} a lock without comparing its owner is refused here: the lock may be another's by now. Use a script that \
                 compares the value first, or see the setting del-without-owner-check"
            ),
        )),
    }
}

/// Says, after the fact, what a policy let through.
pub(super) fn audit(allowed: Allowed, caller: &Caller<'_>, lock: &str, token: u64, owner: &str) {
    metrics::redis_unchecked(allowed.0);
    warn!(
        target: "audit",
        door = Door::Redis.name(),
        namespace = %caller.account.namespace,
        lock,
        token,
        owner,
        peer = %caller.peer,
        user = %caller.account.user,
        what = allowed.0,
        "done as a policy allows"
    );
}
