//! Searches the worlds of the model check to their ends.
//!
//! `cargo run --release -p leasehold-testkit --bin model-check [-- [--small] [NAME…]]`: one line for each world whose name
//! has one of these in it; exit code 1, and the way there, when a rule is broken or something is not shown.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it found")]

use std::process::ExitCode;

use leasehold_testkit::model_check::worlds::{Size, all};
use leasehold_testkit::model_check::{World, check};

const USAGE: u8 = 64;

fn main() -> ExitCode {
    let (flags, names): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|word| word.starts_with("--"));
    if flags.iter().any(|flag| flag != "--small") {
        eprintln!("usage: model-check [--small] [NAME…]");
        return ExitCode::from(USAGE);
    }
    let worlds = all(if flags.is_empty() { Size::Large } else { Size::Small });
    let known: Vec<&str> = worlds.iter().map(|world| world.name).collect();
    let wanted = |world: &World| names.is_empty() || names.iter().any(|name| world.name.contains(name.as_str()));
    if !worlds.iter().any(wanted) {
        eprintln!("no world is named so; there are: {}", known.join(", "));
        return ExitCode::from(USAGE);
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut passed = true;
    for world in worlds.into_iter().filter(wanted) {
        let report = check(world, threads);
        println!("{}", report.text());
        passed &= report.passed();
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
