//! Searches the worlds of the model check to their ends.
//!
//! `cargo run --release -p leasehold-testkit --bin model-check [-- [--small] [NAME…]]`: one line for each world; exit code 1
//! and the way there when a rule is broken.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it found")]

use std::process::ExitCode;

use leasehold_testkit::model_check::check;
use leasehold_testkit::model_check::worlds::{Size, all};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let size = if arguments.iter().any(|argument| argument == "--small") { Size::Small } else { Size::Large };
    let names: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut passed = true;
    let mut searched = 0;
    for world in all(size) {
        if !names.is_empty() && !names.iter().any(|name| world.name.contains(name.as_str())) {
            continue;
        }
        let report = check(world, threads);
        println!("{}", report.text());
        passed &= report.passed();
        searched += 1;
    }
    if searched == 0 {
        eprintln!("no world has one of these names; there are: {:?}", all(size).map_names());
        return ExitCode::from(64);
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

trait Names {
    fn map_names(&self) -> Vec<&'static str>;
}

impl Names for Vec<leasehold_testkit::model_check::World> {
    fn map_names(&self) -> Vec<&'static str> {
        self.iter().map(|world| world.name).collect()
    }
}
