//! What has to notice a planted bug: the quick tests, cheap ones first.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A group of tests that are built and run together.
#[derive(Debug, PartialEq, Eq)]
pub struct Tier {
    /// How it is called on the command line and in the heads of patches.
    pub name: &'static str,
    /// What it is, in a few words.
    pub what: &'static str,
    /// What cargo builds for it, besides its tests.
    builds: &'static [&'static str],
    runs: Runs,
    /// Whoever takes longer hangs. Some ten times what it takes on a machine with two cores.
    pub limit: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum Runs {
    /// `cargo test` of this package, of these targets of it.
    Tests { package: &'static str, targets: &'static [&'static str] },
    /// The seeds of the simulation.
    Simulation,
}

const MINUTE: u64 = 60;
/// Not the examples in the documentation.
const ALL: &[&str] = &["--lib", "--tests"];
/// Seeds and steps of the simulation: each seed is a run of its own, so that more find more.
const SEEDS: &str = "20";
const STEPS: &str = "10000";
/// The same every time, so that a bug that was caught once is caught again.
const FIRST_SEED: &str = "1";

/// In the order of what they cost.
pub static TIERS: [Tier; 8] = [
    Tier {
        name: "state-machine",
        what: "the state machine, its storage, and what failed elsewhere",
        builds: &[],
        runs: Runs::Tests { package: "leasehold-state-machine", targets: ALL },
        limit: Duration::from_secs(5 * MINUTE),
    },
    Tier {
        name: "reference",
        what: "random logs against the reference model",
        builds: &[],
        runs: Runs::Tests { package: "leasehold-reference", targets: ALL },
        limit: Duration::from_secs(10 * MINUTE),
    },
    Tier {
        name: "consensus",
        what: "the log store, the clock, nodes in one process",
        builds: &[],
        runs: Runs::Tests { package: "leasehold-consensus", targets: ALL },
        limit: Duration::from_secs(10 * MINUTE),
    },
    Tier {
        name: "client",
        what: "the client library against nodes that do as they are told",
        builds: &[],
        runs: Runs::Tests { package: "leasehold-client", targets: ALL },
        limit: Duration::from_secs(10 * MINUTE),
    },
    Tier {
        name: "frontend",
        what: "calls and doors of a real node",
        builds: &[],
        runs: Runs::Tests { package: "leasehold-frontend", targets: ALL },
        limit: Duration::from_secs(10 * MINUTE),
    },
    Tier {
        name: "model-check",
        what: "every state of small worlds",
        builds: &[],
        runs: Runs::Tests { package: "leasehold-testkit", targets: &["--test", "model_check"] },
        limit: Duration::from_secs(15 * MINUTE),
    },
    Tier {
        name: "faults",
        what: "three processes under load, killed and paused, and the checker",
        builds: &["build", "-p", "leasehold", "--bin", "leasehold"],
        runs: Runs::Tests {
            package: "leasehold-tests",
            targets: &[
                "--test",
                "followers",
                "--test",
                "faults",
                "--test",
                "sessions",
                "--test",
                "guarded",
                "--test",
                "files",
            ],
        },
        limit: Duration::from_secs(20 * MINUTE),
    },
    Tier {
        name: "simulation",
        what: "whole nodes in one thread, with network, disk and clock from a seed",
        builds: &["build", "-p", "leasehold-testkit", "--bin", "sim"],
        runs: Runs::Simulation,
        limit: Duration::from_secs(20 * MINUTE),
    },
];

impl Tier {
    /// The tier of this name.
    pub fn named(name: &str) -> Result<&'static Self> {
        let names = || TIERS.iter().map(|tier| tier.name).collect::<Vec<_>>().join(", ");
        TIERS.iter().find(|tier| tier.name == name).with_context(|| format!("no tier is named {name:?}: {}", names()))
    }

    /// Whether these sources have it.
    #[must_use]
    pub fn is_in(&self, workspace: &Path) -> bool {
        match self.runs {
            Runs::Tests { .. } => true,
            Runs::Simulation => {
                let bins = workspace.join("crates/testkit/src/bin");
                bins.join("sim.rs").exists() || bins.join("sim").exists()
            }
        }
    }

    /// The words for cargo that build it, command by command; of its tests only those in `part`.
    #[must_use]
    pub fn build_commands<'a>(&self, part: &'a Part) -> Vec<Vec<&'a str>> {
        let mut commands = Vec::new();
        if !self.builds.is_empty() {
            commands.push(self.builds.to_vec());
        }
        if let Runs::Tests { package, targets } = self.runs {
            commands.push(["test", "--no-run", "-p", package].into_iter().chain(part.targets_or(targets)).collect());
        }
        commands
    }

    /// The words for cargo that run it, or `part` of it.
    #[must_use]
    pub fn run_command<'a>(&self, part: &'a Part) -> Vec<&'a str> {
        match self.runs {
            Runs::Tests { package, targets } => {
                let filter = (!part.filter.is_empty()).then_some(part.filter.as_str());
                ["test", "-p", package]
                    .into_iter()
                    .chain(part.targets_or(targets))
                    .chain(["--"])
                    .chain(filter)
                    .collect()
            }
            Runs::Simulation => {
                let seeds = if part.filter.is_empty() { [SEEDS, FIRST_SEED] } else { ["1", part.filter.as_str()] };
                let [count, first] = seeds;
                ["run", "-p", "leasehold-testkit", "--bin", "sim", "--"]
                    .into_iter()
                    .chain(["--seeds", count, "--seed", first, "--steps", STEPS, "--once", "--stop-at-first"])
                    .collect()
            }
        }
    }

    /// Whether it runs tests that cargo counts.
    #[must_use]
    pub fn has_tests(&self) -> bool {
        matches!(self.runs, Runs::Tests { .. })
    }
}

/// Some of the tests of a tier: mostly of one program, so that no other one is built. Of the simulation one seed. By default all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// Words for cargo that choose programs; empty for all.
    targets: Vec<String>,
    /// Part of the names of tests; empty for all.
    filter: String,
}

impl Part {
    /// From words such as `--test faults killed_leaders`, `--lib clock`, or `clock`.
    pub fn parse(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (targets, filter) = match words.as_slice() {
            ["--test", program, rest @ ..] => (vec!["--test".to_owned(), (*program).to_owned()], rest),
            ["--lib", rest @ ..] => (vec!["--lib".to_owned()], rest),
            rest => (Vec::new(), rest),
        };
        match filter {
            [] => Ok(Self { targets, filter: String::new() }),
            [filter] => Ok(Self { targets, filter: (*filter).to_owned() }),
            _ => bail!("{text:?} names more than one part of the names of tests"),
        }
    }

    /// Whether it leaves anything out.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    fn targets_or<'a>(&'a self, all: &'static [&'static str]) -> impl Iterator<Item = &'a str> {
        let all = all.iter().copied().take(if self.targets.is_empty() { all.len() } else { 0 });
        self.targets.iter().map(String::as_str).chain(all)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.targets.join(" "), self.filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_tier_builds_and_runs_nothing_else() {
        let tier = Tier::named("consensus").unwrap();
        let part = Part::parse("--test nodes two_processes").unwrap();
        assert_eq!(tier.build_commands(&part), [["test", "--no-run", "-p", "leasehold-consensus", "--test", "nodes"]]);
        let run = tier.run_command(&part).join(" ");
        assert_eq!(run, "test -p leasehold-consensus --test nodes -- two_processes");
        let all = tier.run_command(&Part::default()).join(" ");
        assert_eq!(all, "test -p leasehold-consensus --lib --tests --");
        assert!(Part::parse("one two").is_err());
        let seed = Tier::named("simulation").unwrap().run_command(&Part::parse("17").unwrap()).join(" ");
        assert!(seed.contains("--seeds 1 --seed 17 "), "{seed}");
    }
}
