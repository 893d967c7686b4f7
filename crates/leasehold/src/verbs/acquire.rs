//! `leasehold acquire`: take a lock and print its token. Nobody renews it afterwards.

use std::time::Duration;

use leasehold_client::{Acquired, Acquisition, Client, Holder, Wait};
use serde_json::{Value, json};

use super::locks::{held_text, holder_json};
use super::only_name;
use crate::cli::AcquireArgs;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

/// How long cancels are waited for before the process ends.
const SETTLE_MAX: Duration = Duration::from_secs(2);

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
            print_acquired(&acquired, args.output.output);
            Ok(Exit::Ok)
        }
        Acquisition::Held(held) => {
            print_held(name, held.holders.first(), held.waiters, args.output.output);
            Ok(Exit::NotAcquired)
        }
        Acquisition::TimedOut => {
            debug_assert_ne!(args.take.wait(), Wait::Try);
            // Who it was is worth a read, but not an error.
            let lock = client.get(name).await.ok();
            let holder = lock.as_ref().and_then(|lock| lock.holders.first());
            let waiters = lock.as_ref().map_or(0, |lock| lock.waiter_count);
            print_held(name, holder, waiters, args.output.output);
            Ok(Exit::NotAcquired)
        }
    }
}

fn print_acquired(acquired: &Acquired, format: Format) {
    let Acquired { name, token, lease, ttl, .. } = acquired;
    match format {
        Format::Json => output::json(&json!({
            "acquired": true,
            "token": token.to_string(),
            "lease": lease.as_str(),
            "ttl_ms": u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
            "holder": Value::Null,
        })),
        Format::Table => {
            let row = [name.clone(), token.to_string(), lease.to_string(), output::span(*ttl)];
            output::table(["LOCK", "TOKEN", "LEASE", "TTL"], [row]);
        }
    }
}

fn print_held(name: &str, holder: Option<&Holder>, waiters: u32, format: Format) {
    output::note(&format!("leasehold: {}", held_text(name, holder, waiters)));
    if format == Format::Json {
        output::json(&json!({
            "acquired": false,
            "token": Value::Null,
            "lease": Value::Null,
            "ttl_ms": Value::Null,
            "holder": holder.map(holder_json),
        }));
    }
}
