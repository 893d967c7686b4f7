//! How long the checker takes, and how much memory, for a run of millions of calls.
//!
//! `cargo run --release -p leasehold-testkit --bin checker-load [-- --calls N --locks N --seed N]`: makes the evidence of a run that
//! never was, checks it, and prints numbers; exit code 1 when the checker finds something in it.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it measured")]

use std::process::ExitCode;

use leasehold_testkit::checker::check;
use leasehold_testkit::clock::Moment;
use leasehold_testkit::synthetic::{Size, make};

const USAGE: u8 = 64;

fn main() -> ExitCode {
    let Some(size) = size(std::env::args().skip(1)) else {
        eprintln!("usage: checker-load [--calls N] [--locks N] [--clients N] [--seed N]");
        return ExitCode::from(USAGE);
    };
    let started = Moment::now();
    let made = make(&size);
    let evidence = &made.evidence;
    let entries = evidence.nodes.first().map_or(0, |log| log.entries.len());
    let calls = evidence.history.records.len();
    println!(
        "made {calls} calls on {} locks in {entries} entries: {:.1} s, {} MiB resident at most",
        size.locks,
        started.elapsed().as_secs_f64(),
        resident_mib_max()
    );
    println!(
        "apply took {:.2} s, the state hash after every 64th entry {:.2} s ({:.1} %)",
        made.apply.as_secs_f64(),
        made.hash.as_secs_f64(),
        made.hash.as_secs_f64() * 100.0 / made.apply.as_secs_f64()
    );
    println!("made of: {:?}", evidence.history.counts());
    let started = Moment::now();
    let report = check(evidence);
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "checked in {seconds:.1} s ({:.0} calls a second), {} MiB resident at most",
        calls as f64 / seconds,
        resident_mib_max()
    );
    println!("{report}");
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn size(mut words: impl Iterator<Item = String>) -> Option<Size> {
    let mut size = Size { calls: 2_000_000, locks: 10_000, clients: 1_000, nodes: 3, seed: 1 };
    while let Some(word) = words.next() {
        let number: u64 = words.next()?.parse().ok()?;
        match word.as_str() {
            "--calls" => size.calls = usize::try_from(number).ok()?,
            "--locks" => size.locks = u32::try_from(number).ok().filter(|locks| *locks > 0)?,
            "--clients" => size.clients = u32::try_from(number).ok().filter(|clients| *clients > 0)?,
            "--seed" => size.seed = number,
            _ => return None,
        }
    }
    Some(size)
}

/// The most memory that this process has had so far; 0 where it cannot be asked.
fn resident_mib_max() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) / 1_024
}
