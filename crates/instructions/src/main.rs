//! Counts the instructions of the benchmarks under callgrind, and compares them with the committed baselines.
//!
//! Exit code: 0 all within the tolerance or below it, or not comparable; 1 a benchmark takes more; 2 nothing could be counted.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints what it counted")]

mod benchmarks;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail, ensure};
use benchmarks::{ALL, Benchmark};
use clap::Parser;
use leasehold_instructions::{
    Baselines, MadeWith, RENEW, count, judge, libc_version, spread_percent, valgrind_version,
};

/// As in the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Several counts of one benchmark may differ by so much. They are equal but for what the allocator does with addresses.
const SPREAD_PERCENT_MAX: f64 = 0.1;

/// Counts instructions per operation and compares them with the baselines.
#[derive(Debug, Parser)]
struct Arguments {
    /// Writes what is counted into the baselines.
    #[arg(long)]
    renew: bool,
    /// Counts each benchmark so often, and fails when the counts differ by more than 0.1 %.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    times: u32,
    /// The file of the baselines.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/baselines.toml"))]
    baselines: PathBuf,
    /// Runs one benchmark, under whatever this runs under, and prints how many operations it did.
    #[arg(long, value_name = "BENCHMARK", hide = true, exclusive = true)]
    run: Option<String>,
    /// Counts these benchmarks only.
    benchmark: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.run {
        Some(name) => find(name).and_then(run),
        None => count_all(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("instructions: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs a benchmark on a thread of its own. Where the stack of the first thread begins depends on the path of the program and on the
/// environment, and how many steps it takes to copy memory depends on where it lies.
fn run(benchmark: &'static Benchmark) -> anyhow::Result<bool> {
    let operations = std::thread::spawn(benchmark.run).join();
    println!("operations {}", operations.map_err(|_| anyhow!("benchmark {} panicked", benchmark.name))?);
    Ok(true)
}

fn find(name: &str) -> anyhow::Result<&'static Benchmark> {
    let found = ALL.iter().find(|benchmark| benchmark.name == name);
    found.with_context(|| {
        let names = ALL.iter().map(|benchmark| benchmark.name).collect::<Vec<_>>().join(", ");
        format!("there is no benchmark {name:?}; there are: {names}")
    })
}

/// Counts and compares, or renews. False: the run failed.
fn count_all(arguments: &Arguments) -> anyhow::Result<bool> {
    let made_with = MadeWith {
        rustc: env!("MADE_WITH_RUSTC").to_owned(),
        target: env!("MADE_FOR").to_owned(),
        cc: env!("MADE_WITH_CC").to_owned(),
        libc: libc_version(),
        valgrind: valgrind_version().context("valgrind cannot be started; it counts (apt-get install valgrind)")?,
    };
    let chosen = match arguments.benchmark.as_slice() {
        [] => ALL.iter().collect(),
        names => names.iter().map(|name| find(name)).collect::<anyhow::Result<Vec<_>>>()?,
    };
    let program = std::env::current_exe().context("the path of this program")?;
    let mut counts = Vec::with_capacity(chosen.len());
    for benchmark in chosen {
        let counted = count_one(&program, benchmark, arguments.times)?;
        counts.push((benchmark, counted));
    }
    if arguments.renew {
        return renew(arguments, made_with, &counts);
    }
    let baselines = Baselines::read(&arguments.baselines)?;
    Ok(compare(arguments, &baselines, &made_with, &counts))
}

/// Counts one benchmark so many times; the least of the counts.
fn count_one(program: &Path, benchmark: &Benchmark, times: u32) -> anyhow::Result<f64> {
    let name = benchmark.name;
    let counts = (0..times).map(|_| Ok(count(program, name)?.per_operation())).collect::<anyhow::Result<Vec<_>>>()?;
    let least = counts.iter().copied().fold(f64::INFINITY, f64::min);
    print!("{name:<28} {least:>12.1} per {}", benchmark.operation);
    let spread = spread_percent(&counts);
    if times > 1 {
        print!(", {times} times, {spread:.4} % apart");
    }
    println!();
    ensure!(spread <= SPREAD_PERCENT_MAX, "{name}: counts differ by more than {SPREAD_PERCENT_MAX} %: {counts:?}");
    // One digit is what the file holds.
    Ok((least * 10.0).round() / 10.0)
}

fn compare(arguments: &Arguments, baselines: &Baselines, made_with: &MadeWith, counts: &[(&Benchmark, f64)]) -> bool {
    let differences = baselines.made_with.differences(made_with);
    if !baselines.made_with.is_comparable(made_with) {
        println!("\nNOT COMPARED with the baselines, because another compiler made this program:");
        differences.iter().for_each(|difference| println!("    {difference}"));
        println!("    Baselines for this one: {RENEW}");
        return true;
    }
    let tolerance = baselines.tolerance_percent;
    let mut failed = 0;
    println!();
    for (benchmark, counted) in counts {
        let baseline = baselines.instructions_per_operation.get(benchmark.name).copied();
        let verdict = judge(baseline, *counted, tolerance);
        if let Some(message) = verdict.message(benchmark.name, baseline, *counted, tolerance) {
            println!("{message}");
        }
        failed += usize::from(verdict.fails());
    }
    // What nobody counts any more guards nothing.
    let names = baselines.instructions_per_operation.keys();
    for name in names.filter(|name| ALL.iter().all(|benchmark| benchmark.name != **name)) {
        println!("FAILED {name}: there is a baseline, and no such benchmark. Renew: {RENEW}");
        failed += 1;
    }
    if failed > 0 && !differences.is_empty() {
        println!("Some of it may come from what is not the same here:");
        differences.iter().for_each(|difference| println!("    {difference}"));
    }
    let counted = counts.len();
    println!("{counted} benchmarks against {}: {failed} failed", arguments.baselines.display());
    failed == 0
}

fn renew(arguments: &Arguments, made_with: MadeWith, counts: &[(&Benchmark, f64)]) -> anyhow::Result<bool> {
    let path = &arguments.baselines;
    let mut baselines = if path.exists() { Baselines::read(path)? } else { Baselines::default() };
    if baselines.tolerance_percent <= 0.0 {
        baselines.tolerance_percent = 3.0;
    }
    if arguments.benchmark.is_empty() {
        baselines.instructions_per_operation.clear();
    } else if !baselines.made_with.is_comparable(&made_with) {
        bail!(
            "the baselines were made with {}: with another compiler all of them are renewed",
            baselines.made_with.rustc
        );
    }
    baselines.made_with = made_with;
    let counts = counts.iter().map(|(benchmark, counted)| (benchmark.name.to_owned(), *counted));
    baselines.instructions_per_operation.extend(counts);
    baselines.write(path)?;
    println!("\nwrote {}: commit it, and say in the message why what became more did", path.display());
    Ok(true)
}
