//! `leasehold acquire`: take locks and print their tokens. Nobody renews them afterwards.

use leasehold_client::Client;

use super::{SETTLE_MAX, acquisition};
use crate::cli::{ClientArgs, OutputArgs, TakeArgs};
use crate::exit::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct AcquireArgs {
    /// The lock; or several, all or nothing
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    pub(crate) take: TakeArgs,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

pub(super) async fn run(args: AcquireArgs) -> Result<Exit, Failure> {
    let AcquireArgs { names, take, client, output } = args;
    let client = Client::connect(client.options()).await?;
    let mut asking = client.raw(take.specs(&names));
    asking = match take.session {
        Some(session) => asking.session(session),
        None => asking.ttl(take.ttl()),
    };
    if let Some(actor) = &take.actor {
        asking = asking.actor(actor.as_str());
    }
    if let Some(owner) = &take.who.owner {
        asking = asking.owner(owner);
    }
    if let Some(metadata) = &take.who.metadata {
        asking = asking.metadata(metadata);
    }
    if let Some(value) = &take.who.value {
        asking = asking.value(value.as_bytes());
    }
    if let Some(delay) = take.lock_delay {
        asking = asking.lock_delay(delay);
    }
    match asking.run(take.wait.wait()).await {
        Ok(acquisition) => acquisition::print(&client, &names, &acquisition, output.output).await,
        Err(error) => {
            client.settle(SETTLE_MAX).await;
            Err(error.into())
        }
    }
}
