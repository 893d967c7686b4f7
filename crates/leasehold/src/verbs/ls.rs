//! `leasehold ls`.

use leasehold_client::{Client, LockInfo};

use super::locks::LockJson;
use crate::cli::LsArgs;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format, span_ms};

pub(super) async fn run(args: LsArgs) -> Result<Exit, Failure> {
    let client = Client::connect(args.client.options()).await?;
    let locks = client.list(&args.prefix).await?;
    match args.output.output {
        Format::Json => output::json(&locks.iter().map(LockJson::from).collect::<Vec<_>>())?,
        Format::Table => {
            output::table(["LOCK", "OWNER", "TOKEN", "LEFT", "WAITERS"], locks.iter().map(row));
        }
    }
    Ok(Exit::Ok)
}

fn row(lock: &LockInfo) -> [String; 5] {
    let waiters = lock.waiter_count.to_string();
    match lock.holders.as_slice() {
        [] => [lock.name.clone(), "-".to_owned(), "-".to_owned(), "-".to_owned(), waiters],
        [one] => [lock.name.clone(), one.owner.clone(), one.token.to_string(), span_ms(one.left_ms), waiters],
        many => {
            let owners = format!("{} holders", many.len());
            [lock.name.clone(), owners, "-".to_owned(), "-".to_owned(), waiters]
        }
    }
}
