//! Simulates whole clusters, one seed after the other: `cargo run --release -p leasehold-testkit --bin sim -- --seeds N --steps M`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it found")]

mod arguments;
mod children;
mod summary;

use std::process::ExitCode;

use arguments::Arguments;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}\n\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    let done = if arguments.one { children::run_one(&arguments) } else { children::run_all(&arguments) };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
