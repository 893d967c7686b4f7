//! What `sim` is told.

use std::collections::BTreeSet;
use std::path::PathBuf;

use leasehold_testkit::sim::{SimFault, SimOptions};

/// Shown when that cannot be understood.
pub(super) const USAGE: &str =
    "usage: sim [--seeds N] [--steps M] [--seed FIRST] [--clients K] [--clock-ppm N] [--lying-disks] [--without FAULTS] [--once] [--stop-at-first] [--require-coverage] [--jobs J] [--json FILE] [--trace FILE]
  --seeds N     how many seeds, each run twice and compared (1)
  --steps M     simulated milliseconds with faults, healing not counted (10000)
  --seed FIRST  the first seed (drawn from the clock)
  --clients K   concurrent clients (6)
  --clock-ppm N clocks run up to so much fast or slow (500; above half of drift-max, 1000, leases may end early)
  --lying-disks syncs are reported and not done (what was acknowledged may be lost)
  --without FAULTS  these, with commas between them, do not come about where they are drawn
  --once        run each seed once only, without comparing
  --stop-at-first  run no more seeds after one with a violation
  --require-coverage  fail if a cell of fault × role × phase was never hit
  --jobs J      seeds at a time, each in a process of its own (the number of cores)
  --json FILE   the summary, for machines
  --trace FILE  everything that happened (with --seeds 1)";

/// Bounds that a mistyped number would break.
const SEEDS_MAX: u64 = 10_000_000;
const STEPS_MAX: u64 = 3_000_000;
const CLIENTS_MAX: u64 = 64;
const CLOCK_PPM_MAX: u64 = 900_000;

#[derive(Debug, Clone)]
pub(super) struct Arguments {
    pub(super) seeds: u64,
    pub(super) steps: u64,
    pub(super) first: u64,
    pub(super) clients: u32,
    pub(super) clock_ppm: u32,
    pub(super) lying_disks: bool,
    pub(super) without: BTreeSet<SimFault>,
    pub(super) once: bool,
    pub(super) stop_at_first: bool,
    pub(super) require_coverage: bool,
    pub(super) jobs: usize,
    pub(super) json: Option<PathBuf>,
    pub(super) trace: Option<PathBuf>,
    /// This process is one run of one seed.
    pub(super) one: bool,
}

impl Arguments {
    pub(super) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut arguments = Self {
            seeds: 1,
            steps: 10_000,
            first: leasehold_testkit::clock::random_seed() % SEEDS_MAX,
            clients: 6,
            clock_ppm: SimOptions::CLOCK_PPM,
            lying_disks: false,
            without: BTreeSet::new(),
            once: false,
            stop_at_first: false,
            require_coverage: false,
            jobs: cores,
            json: None,
            trace: None,
            one: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word}: a value is missing"));
            match word.as_str() {
                "--seeds" => arguments.seeds = number(&word, &value()?, SEEDS_MAX)?,
                "--steps" => arguments.steps = number(&word, &value()?, STEPS_MAX)?,
                "--seed" => arguments.first = value()?.parse().map_err(|error| format!("--seed: {error}"))?,
                "--clients" => arguments.clients = number(&word, &value()?, CLIENTS_MAX)? as u32,
                "--clock-ppm" => arguments.clock_ppm = number(&word, &value()?, CLOCK_PPM_MAX)? as u32,
                "--lying-disks" => arguments.lying_disks = true,
                "--jobs" => arguments.jobs = number(&word, &value()?, 1_024)? as usize,
                "--json" => arguments.json = Some(value()?.into()),
                "--trace" => arguments.trace = Some(value()?.into()),
                "--require-coverage" => arguments.require_coverage = true,
                "--without" => arguments.without = faults(&value()?)?,
                "--once" => arguments.once = true,
                "--stop-at-first" => arguments.stop_at_first = true,
                "--one" => arguments.one = true,
                other => return Err(format!("{other}: unknown")),
            }
        }
        if arguments.trace.is_some() && arguments.seeds != 1 {
            return Err("--trace: give it with --seeds 1".into());
        }
        Ok(arguments)
    }

    /// What one run of `seed` is told, beside `--one`.
    pub(super) fn of_child(&self, seed: u64) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        for (name, value) in [
            ("--seed", seed),
            ("--steps", self.steps),
            ("--clients", self.clients.into()),
            ("--clock-ppm", self.clock_ppm.into()),
        ] {
            words.extend([name.to_owned(), value.to_string()]);
        }
        words.extend(self.lying_disks.then(|| "--lying-disks".to_owned()));
        if !self.without.is_empty() {
            let names: Vec<String> = self.without.iter().map(ToString::to_string).collect();
            words.extend(["--without".to_owned(), names.join(",")]);
        }
        words
    }
}

fn faults(names: &str) -> Result<BTreeSet<SimFault>, String> {
    names.split(',').map(|name| name.parse().map_err(|problem| format!("--without: {problem}"))).collect()
}

fn number(name: &str, text: &str, max: u64) -> Result<u64, String> {
    let number: u64 = text.parse().map_err(|error| format!("{name}: {text:?}: {error}"))?;
    if (1..=max).contains(&number) { Ok(number) } else { Err(format!("{name}: {number} is not between 1 and {max}")) }
}
