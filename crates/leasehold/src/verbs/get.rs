//! `leasehold get`.

use leasehold_client::{Client, Holder, LockInfo, Waiter};

use super::locks::{LockJson, loss_text, mode_text};
use crate::cli::{ClientArgs, OutputArgs};
use crate::exit::{Exit, Failure};
use crate::output::{self, Format, note, printable, span_ms, value_text};

#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// The lock
    name: String,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn run(args: GetArgs) -> Result<Exit, Failure> {
    let client = Client::connect(args.client.options()).await?;
    let lock = client.get(&args.name).await?;
    match args.output.output {
        Format::Json => {
            output::json(&LockJson::from(&lock))?;
        }
        Format::Table => print_table(&args.name, &lock),
    }
    Ok(Exit::Ok)
}

fn print_table(name: &str, lock: &LockInfo) {
    let name = printable(name);
    if lock.holders.is_empty() {
        note(&format!("leasehold: nobody holds {name}"));
    }
    if lock.delay_left_ms > 0 {
        note(&format!("leasehold: {name} is not granted for another {}: lock-delay", span_ms(lock.delay_left_ms)));
    }
    if let Some(loss) = &lock.loss {
        note(&format!("leasehold: {name}: {}", loss_text(loss)));
    }
    let holder = |holder: &Holder| {
        let Holder { owner, token, lease, held_ms, left_ms, metadata, actor, value, .. } = holder;
        let mode = mode_text(holder.mode(), holder.permits, holder.limit);
        let (token, held, left) = (token.to_string(), span_ms(*held_ms), span_ms(*left_ms));
        let (metadata, actor, value) = (metadata.clone(), actor.clone(), value_text(value));
        ["holder".to_owned(), owner.clone(), mode, token, lease.clone(), held, left, metadata, value, actor]
    };
    let waiter = |waiter: &Waiter| {
        let Waiter { position, owner, waited_ms, left_ms, lease, actor, metadata, converts, .. } = waiter;
        let role = format!("waiter {position}");
        let mode = mode_text(waiter.mode(), waiter.permits, waiter.limit);
        // Who upgrades is shown with the token that it holds meanwhile.
        let token = if *converts == 0 { String::new() } else { converts.to_string() };
        let (waited, left) = (span_ms(*waited_ms), span_ms(*left_ms));
        let (metadata, actor) = (metadata.clone(), actor.clone());
        [role, owner.clone(), mode, token, lease.clone(), waited, left, metadata, String::new(), actor]
    };
    let rows = lock.holders.iter().map(holder).chain(lock.waiters.iter().map(waiter));
    let header = ["ROLE", "OWNER", "MODE", "TOKEN", "LEASE", "SINCE", "LEFT", "METADATA", "VALUE", "ACTOR"];
    output::table_without_empty(7, header, rows);
}
