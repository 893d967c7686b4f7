//! The one binary of Leasehold.

use std::process::ExitCode;

use clap::Parser;

mod config;
mod dev;
mod exit;
mod logging;
mod serve;

#[derive(Debug, Parser)]
#[command(name = "leasehold", version)]
enum Cli {
    /// Run one node with temporary data on loopback
    Dev(dev::DevArgs),
    /// Run one node of a cluster
    Serve(serve::ServeArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse() {
        Cli::Dev(args) => Box::pin(dev::run(args)).await,
        Cli::Serve(args) => Box::pin(serve::run(args)).await,
    }
}
