//! What the state machine reads: commands and outcomes, rows, records and snapshots, and what `apply` does with all of that.

mod apply;
mod codec;
mod draws;
mod files;
mod invariants;
mod rows;

use leasehold_state_machine::{Batch, Command, LeaderStamp, Outcome};

use crate::replay::Target;

pub const TARGETS: &[Target] = &[
    ("codec", codec::run, codec::seeds),
    ("apply_bytes", apply::run_bytes, apply::seeds_of_bytes),
    ("apply_drawn", apply::run_drawn, apply::seeds_of_draws),
    ("rows", rows::run, rows::seeds),
    ("records", files::run_records, files::seeds_of_records),
    ("snapshots", files::run_snapshots, files::seeds_of_snapshots),
];

/// A line of `leasehold debug log`. (A `serde_json::Value` has no room for the ids of sessions.)
#[derive(serde::Serialize)]
struct Line {
    index: usize,
    term: u64,
    leader: u64,
    kind: &'static str,
    at: u64,
    stamped: LeaderStamp,
    committed: bool,
    commands: Vec<Command>,
    outcomes: Vec<Outcome>,
    now: u64,
    hash: &'static str,
}

/// The log of the seeds, as `leasehold debug log` prints it.
pub fn lines_of_dumps() -> Vec<Vec<u8>> {
    let line = |(index, entry): (usize, apply::Entry)| {
        let Batch { at, stamped_by, commands } = entry.batch;
        let line = Line {
            index,
            term: stamped_by.term,
            leader: stamped_by.node,
            kind: "normal",
            at: at.0,
            stamped: stamped_by,
            committed: true,
            commands,
            outcomes: entry.effects.outcomes,
            now: at.0,
            hash: "00",
        };
        serde_json::to_vec(&line).expect("a line of our own types")
    };
    apply::entries_of_seeds().into_iter().enumerate().step_by(8).map(line).collect()
}
