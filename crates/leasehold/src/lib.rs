//! The one binary of Leasehold: server, client verbs, and a demonstration.

use std::process::ExitCode;

use clap::Parser;

mod cli;
mod config;
mod dev;
mod exit;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod logging;
mod output;
mod reaper;
mod serve;
mod verbs;

use cli::{Cli, Verb};
use exit::{Exit, Failure};

/// What the program does: reads its command line and runs the verb.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for, everything else is a mistake. That they cannot be shown is no news to anybody.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    match cli.verb {
        Verb::Reaper(args) => reaper::run(args),
        Verb::Launch(args) => reaper::launch(&args),
        verb => run(verb),
    }
}

fn run(verb: Verb) -> ExitCode {
    // Not by the macro: that panics where there are no files or threads left for it.
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run_async(verb)),
        Err(error) => exit::report(Err(Failure::internal(format!("the runtime does not start: {error}")))),
    }
}

async fn run_async(verb: Verb) -> ExitCode {
    match verb {
        Verb::Serve(args) => Box::pin(serve::run(args)).await,
        Verb::Dev(args) => Box::pin(dev::run(args)).await,
        verb => exit::report(Box::pin(verbs::run(verb)).await),
    }
}
