//! `leasehold convert`: shared to exclusive or back, without letting go.

use leasehold_client::{Client, Convert, Token};

use super::{SETTLE_MAX, acquisition};
use crate::cli::{ClientArgs, OutputArgs, WaitArgs};
use crate::exit::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct ConvertArgs {
    /// The lock
    name: String,
    /// The fencing token under which it is held; the new grant has another one
    token: u64,
    /// What to convert it to
    #[arg(long, value_enum)]
    to: Target,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Target {
    /// Downgrade: at once, always
    Shared,
    /// Upgrade: when the other readers have gone, before all who wait
    Exclusive,
}

pub(super) async fn run(args: ConvertArgs) -> Result<Exit, Failure> {
    let ConvertArgs { name, token, to, wait, client, output } = args;
    let client = Client::connect(client.options()).await?;
    let to = match to {
        Target::Shared => Convert::ToShared,
        Target::Exclusive => Convert::ToExclusive,
    };
    match client.convert_raw(&name, Token(token), to, wait.wait()).await {
        Ok(acquisition) => acquisition::print(&client, &[name], &acquisition, output.output).await,
        Err(error) => {
            client.settle(SETTLE_MAX).await;
            let failure = Failure::from(error);
            Err(Failure::new(failure.exit, format!("{name} under token {token}: {}", failure.message)))
        }
    }
}
