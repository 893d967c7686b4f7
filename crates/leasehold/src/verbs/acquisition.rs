//! What an acquire or a convert came to, as it is printed.

use leasehold_client::{Acquired, Acquisition, Client, Deadlock, DeadlockStep, GrantInfo, HeldInfo};
use serde::Serialize;

use super::locks::{GrantJson, HolderJson, held_text, lock_mode_text};
use super::{some_text, whole_millis};
use crate::exit::{Exit, Failure, deadlock_text};
use crate::output::{self, Format, note};

/// What `-o json` prints: always these fields.
#[derive(Debug, Default, Serialize)]
struct AcquisitionJson<'a> {
    acquired: bool,
    /// Of one lock alone.
    token: Option<String>,
    lease: Option<&'a str>,
    ttl_ms: Option<u64>,
    grants: Vec<GrantJson<'a>>,
    /// Why not: `held`, `timed_out` or `deadlock`.
    reason: Option<&'static str>,
    /// The lock that is in the way, and who holds it.
    name: Option<&'a str>,
    holder: Option<HolderJson<'a>>,
    waiters: u32,
    by_self: bool,
    delay_left_ms: u64,
    cycle: Vec<StepJson<'a>>,
}

#[derive(Debug, Serialize)]
struct StepJson<'a> {
    session: &'a str,
    actor: Option<&'a str>,
    owner: &'a str,
    waits_for: &'a str,
}

impl<'a> From<&'a DeadlockStep> for StepJson<'a> {
    fn from(step: &'a DeadlockStep) -> Self {
        let DeadlockStep { session, actor, owner, name } = step;
        Self { session, actor: some_text(actor), owner, waits_for: name }
    }
}

/// Prints it, and says how to exit. `names` are what was asked for.
pub(super) async fn print(
    client: &Client,
    names: &[String],
    acquisition: &Acquisition,
    format: Format,
) -> Result<Exit, Failure> {
    match acquisition {
        Acquisition::Acquired(acquired) => print_acquired(acquired, format)?,
        Acquisition::Held(held) => print_held("held", held, format)?,
        Acquisition::TimedOut => print_held("timed_out", &in_the_way(client, names).await, format)?,
        Acquisition::Deadlock(deadlock) => print_deadlock(deadlock, format)?,
    }
    let acquired = matches!(acquisition, Acquisition::Acquired(_));
    Ok(if acquired { Exit::Ok } else { Exit::NotAcquired })
}

/// The first of the locks that is not free now; that it cannot be known is no error.
pub(super) async fn in_the_way(client: &Client, names: &[String]) -> HeldInfo {
    for name in names {
        if let Ok(lock) = client.get(name).await
            && (!lock.holders.is_empty() || lock.waiter_count > 0 || lock.delay_left_ms > 0)
        {
            let delay_left = std::time::Duration::from_millis(lock.delay_left_ms);
            let (holders, waiters) = (lock.holders, lock.waiter_count);
            return HeldInfo { name: lock.name, holders, waiters, by_self: false, delay_left };
        }
    }
    HeldInfo { name: names.join(", "), ..HeldInfo::default() }
}

fn print_acquired(acquired: &Acquired, format: Format) -> Result<(), Failure> {
    let Acquired { token, lease, ttl, grants, .. } = acquired;
    match format {
        Format::Json => {
            output::json(&AcquisitionJson {
                acquired: true,
                token: (grants.len() == 1).then(|| token.to_string()),
                lease: Some(lease.as_str()),
                ttl_ms: Some(whole_millis(*ttl)),
                grants: grants.iter().map(Into::into).collect(),
                ..AcquisitionJson::default()
            })?;
        }
        Format::Table => {
            let row = |grant: &GrantInfo| {
                let mode = lock_mode_text(grant.mode);
                [grant.name.clone(), mode, grant.token.to_string(), lease.to_string(), output::span(*ttl)]
            };
            output::table(["LOCK", "MODE", "TOKEN", "LEASE", "TTL"], grants.iter().map(row));
        }
    }
    Ok(())
}

fn print_held(reason: &'static str, held: &HeldInfo, format: Format) -> Result<(), Failure> {
    note(&format!("leasehold: {}", held_text(held)));
    if format == Format::Json {
        output::json(&AcquisitionJson {
            reason: Some(reason),
            name: Some(&held.name),
            holder: held.holders.first().map(Into::into),
            waiters: held.waiters,
            by_self: held.by_self,
            delay_left_ms: whole_millis(held.delay_left),
            ..AcquisitionJson::default()
        })?;
    }
    Ok(())
}

fn print_deadlock(deadlock: &Deadlock, format: Format) -> Result<(), Failure> {
    note(&format!("leasehold: {}", deadlock_text(deadlock)));
    if format == Format::Json {
        output::json(&AcquisitionJson {
            reason: Some("deadlock"),
            name: deadlock.cycle.first().map(|step| step.name.as_str()),
            cycle: deadlock.cycle.iter().map(Into::into).collect(),
            ..AcquisitionJson::default()
        })?;
    }
    Ok(())
}
