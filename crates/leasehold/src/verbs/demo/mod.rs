//! `leasehold demo`: a real cluster of this very binary, its leader killed, its lock kept.

use std::future::Future;
use std::time::Duration;

use super::nodes::{Nodes, Place};
use super::signals::{self, Signals};
use crate::config::STORE_READY;
use crate::exit::{Exit, Failure};
use crate::output::{data, note};

mod story;

use story::Story;

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Nodes to start
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(3..=9))]
    nodes: u64,
    /// End when the demonstration is over, instead of leaving the cluster running
    #[arg(long)]
    exit: bool,
}

/// How long one step may take before the demonstration has failed.
const STEP_MAX: Duration = Duration::from_secs(30);

/// The nodes have a Dapr store, for those who go on playing with them.
const PLACE: Place<'_> = Place { prefix: "leasehold-demo-", parent: None, flags: &["--dapr-store", STORE_READY] };

pub(super) async fn run(args: DemoArgs) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let mut nodes = Nodes::prepare(args.nodes, PLACE)?;
    let ended = tokio::select! {
        told = play(&mut nodes, args.exit) => told,
        signal = signals.next() => Ok(Exit::Of(signals::exit_code(signal))),
    };
    nodes.end().await;
    if let Err(failure) = &ended {
        note(&format!("leasehold: the demonstration did not go as it should: {}", failure.message));
        note(&format!("leasehold: what the nodes logged is left in {}", nodes.keep_folder().display()));
        return Ok(failure.exit);
    }
    ended
}

/// Tells the story; then leaves the cluster to the user, unless it is to end.
async fn play(nodes: &mut Nodes, exit: bool) -> Result<Exit, Failure> {
    let story = Story::begin();
    Box::pin(story.tell(nodes)).await?;
    if exit {
        return Ok(Exit::Ok);
    }
    data("");
    data("The cluster goes on running until Ctrl-C. Try, in another terminal:");
    data("");
    data(&format!("  export LEASEHOLD_ENDPOINTS={}", nodes.endpoints().join(",")));
    data("  leasehold cluster status");
    data("  leasehold acquire my-lock --ttl 1m");
    data("  leasehold get my-lock");
    data("  leasehold lock other-lock -- sh -c 'echo \"token $LEASEHOLD_TOKEN\"; sleep 5'");
    std::future::pending().await
}

/// The step's output, or a failure once it has taken too long.
async fn in_time<T>(what: &str, step: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(STEP_MAX, step).await {
        Ok(result) => result.map_err(|failure| Failure::internal(format!("{what}: {}", failure.message))),
        Err(_) => Err(Failure::internal(format!("{what}: not within {STEP_MAX:?}"))),
    }
}
