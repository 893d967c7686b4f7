//! `leasehold convert`: shared to exclusive or back, without letting go.

use leasehold_client::{Client, Convert, Error, Token};

use super::locks::loss_text;
use super::{SETTLE_MAX, acquisition};
use crate::cli::{ClientArgs, OutputArgs, WaitArgs};
use crate::exit::{Exit, Failure};
use crate::output::printable;

#[derive(Debug, clap::Args)]
pub(crate) struct ConvertArgs {
    /// The lock
    name: String,
    /// The fencing token under which it is held; the new grant has another one
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
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
            Err(told(&client, &name, token, error).await)
        }
    }
}

/// Why it was not converted, and how the grant was lost if that is why.
async fn told(client: &Client, name: &str, token: u64, error: Error) -> Failure {
    let not_held = matches!(error, Error::NotHeld { .. });
    let Failure { exit, message } = error.into();
    // That it cannot be known is not worth an error of its own.
    let lost =
        if not_held { client.check_token(name, Token(token)).await.ok().and_then(|answer| answer.loss) } else { None };
    let name = printable(name);
    match lost {
        Some(loss) => Failure::new(exit, format!("{name} is no longer held: {}", loss_text(&loss))),
        None if not_held => Failure::new(exit, format!("{name} under token {token}: {message}")),
        None => Failure::new(exit, message),
    }
}
