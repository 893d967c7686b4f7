//! `leasehold debug …`: looking inside a node's data.

use std::io::Write;
use std::path::PathBuf;

use crate::exit::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct DebugLogArgs {
    /// The node's data folder; the node must not be running
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

/// Prints the log of a stopped node.
pub(super) fn log(args: &DebugLogArgs) -> Result<Exit, Failure> {
    if !args.data_dir.is_dir() {
        return Err(Failure::usage(format!("{} is not a folder", args.data_dir.display())));
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    leasehold_consensus::debug::dump_log(&args.data_dir, &mut out)
        .map_err(|error| Failure::internal(error.to_string()))?;
    out.flush().map_err(|error| Failure::internal(format!("stdout: {error}")))?;
    Ok(Exit::Ok)
}
