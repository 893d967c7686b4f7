//! `leasehold get`.

use leasehold_client::{Client, Holder, LockInfo, Waiter};

use super::locks::LockJson;
use super::{mode_name, reason_name};
use crate::cli::GetArgs;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format, span_ms};

pub(super) async fn run(args: GetArgs) -> Result<Exit, Failure> {
    let client = Client::connect(args.client.options()).await?;
    let lock = client.get(&args.name).await?;
    match args.output.output {
        Format::Json => output::json(&LockJson::from(&lock))?,
        Format::Table => print_table(&args.name, &lock),
    }
    Ok(Exit::Ok)
}

fn print_table(name: &str, lock: &LockInfo) {
    if lock.holders.is_empty() {
        let last = reason_name(lock.last_lost())
            .map_or(String::new(), |reason| format!("; token {} was last lost: {reason}", lock.last_lost_token));
        output::note(&format!("leasehold: nobody holds {name}{last}"));
    }
    let holder = |holder: &Holder| {
        let Holder { owner, token, lease, held_ms, left_ms, metadata, .. } = holder;
        let mode = mode_name(holder.mode());
        let (token, held, left) = (token.to_string(), span_ms(*held_ms), span_ms(*left_ms));
        ["holder".to_owned(), owner.clone(), mode, token, lease.clone(), held, left, metadata.clone()]
    };
    let waiter = |waiter: &Waiter| {
        let role = format!("waiter {}", waiter.position);
        let (waited, left) = (span_ms(waiter.waited_ms), span_ms(waiter.left_ms));
        let none = String::new;
        [role, waiter.owner.clone(), mode_name(waiter.mode()), none(), none(), waited, left, none()]
    };
    let rows = lock.holders.iter().map(holder).chain(lock.waiters.iter().map(waiter));
    output::table(["ROLE", "OWNER", "MODE", "TOKEN", "LEASE", "SINCE", "LEFT", "METADATA"], rows);
}
