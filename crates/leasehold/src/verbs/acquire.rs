//! `leasehold acquire`: take a lock and print its token. Nobody renews it afterwards.

use std::time::Duration;

use leasehold_client::{Acquired, Acquisition, Client, Holder};
use serde::Serialize;

use super::locks::{HolderJson, held_text};
use super::{only_name, whole_millis};
use crate::cli::AcquireArgs;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// How long cancels are waited for before the process ends.
const SETTLE_MAX: Duration = Duration::from_millis(500);

pub(super) async fn run(args: AcquireArgs) -> Result<Exit, Failure> {
    let name = only_name(&args.names)?;
    let client = Client::connect(args.client.options()).await?;
    let acquisition = args.take.builder(&client, name).acquire_raw(args.take.wait()).await;
    let acquisition = match acquisition {
        Ok(acquisition) => acquisition,
        Err(error) => {
            client.settle(SETTLE_MAX).await;
            return Err(error.into());
        }
    };
    match acquisition {
        Acquisition::Acquired(acquired) => {
            print_acquired(&acquired, args.output.output)?;
            Ok(Exit::Ok)
        }
        Acquisition::Held(held) => {
            print_held(name, held.holders.first(), held.waiters, args.output.output)?;
            Ok(Exit::NotAcquired)
        }
        Acquisition::TimedOut => {
            // Who it was is worth a read, but not an error.
            let lock = client.get(name).await.ok();
            let holder = lock.as_ref().and_then(|lock| lock.holders.first());
            let waiters = lock.as_ref().map_or(0, |lock| lock.waiter_count);
            print_held(name, holder, waiters, args.output.output)?;
            Ok(Exit::NotAcquired)
        }
    }
}

/// What `-o json` prints: always these fields.
#[derive(Debug, Default, Serialize)]
struct AcquireJson<'a> {
    acquired: bool,
    token: Option<String>,
    lease: Option<&'a str>,
    ttl_ms: Option<u64>,
    holder: Option<HolderJson<'a>>,
}

fn print_acquired(acquired: &Acquired, format: Format) -> Result<(), Failure> {
    let Acquired { name, token, lease, ttl, .. } = acquired;
    match format {
        Format::Json => output::json(&AcquireJson {
            acquired: true,
            token: Some(token.to_string()),
            lease: Some(lease.as_str()),
            ttl_ms: Some(whole_millis(*ttl)),
            holder: None,
        }),
        Format::Table => {
            let row = [name.clone(), token.to_string(), lease.to_string(), output::span(*ttl)];
            output::table(["LOCK", "TOKEN", "LEASE", "TTL"], [row]);
            Ok(())
        }
    }
}

fn print_held(name: &str, holder: Option<&Holder>, waiters: u32, format: Format) -> Result<(), Failure> {
    output::note(&format!("leasehold: {}", held_text(name, holder, waiters)));
    match format {
        Format::Json => output::json(&AcquireJson { holder: holder.map(Into::into), ..AcquireJson::default() }),
        Format::Table => Ok(()),
    }
}
