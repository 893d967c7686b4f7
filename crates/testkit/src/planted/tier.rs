//! What has to notice a planted bug: the quick tests, cheap ones first.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

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
    /// `cargo test` with these words.
    Tests(&'static [&'static str]),
    /// The seeds of the simulation.
    Simulation,
}

const MINUTE: u64 = 60;
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
        runs: Runs::Tests(&["-p", "leasehold-state-machine", "--lib", "--tests"]),
        limit: Duration::from_secs(5 * MINUTE),
    },
    Tier {
        name: "reference",
        what: "random logs against the reference model",
        builds: &[],
        runs: Runs::Tests(&["-p", "leasehold-reference", "--lib", "--tests"]),
        limit: Duration::from_secs(10 * MINUTE),
    },
    Tier {
        name: "consensus",
        what: "the log store, the clock, nodes in one process",
        builds: &[],
        runs: Runs::Tests(&["-p", "leasehold-consensus", "--lib", "--tests"]),
        limit: Duration::from_secs(10 * MINUTE),
    },
    Tier {
        name: "client",
        what: "the client library against nodes that do as they are told",
        builds: &[],
        runs: Runs::Tests(&["-p", "leasehold-client", "--lib", "--tests"]),
        limit: Duration::from_secs(10 * MINUTE),
    },
    Tier {
        name: "frontend",
        what: "calls and doors of a real node",
        builds: &[],
        runs: Runs::Tests(&["-p", "leasehold-frontend", "--lib", "--tests"]),
        limit: Duration::from_secs(10 * MINUTE),
    },
    Tier {
        name: "model-check",
        what: "every state of small worlds",
        builds: &[],
        runs: Runs::Tests(&["-p", "leasehold-testkit", "--test", "model_check"]),
        limit: Duration::from_secs(15 * MINUTE),
    },
    Tier {
        name: "faults",
        what: "three processes under load, killed and paused, and the checker",
        builds: &["build", "-p", "leasehold", "--bin", "leasehold"],
        runs: Runs::Tests(&[
            "-p",
            "leasehold-tests",
            "--test",
            "faults",
            "--test",
            "sessions",
            "--test",
            "guarded",
            "--test",
            "files",
        ]),
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
            Runs::Tests(_) => true,
            Runs::Simulation => {
                let bins = workspace.join("crates/testkit/src/bin");
                bins.join("sim.rs").exists() || bins.join("sim").exists()
            }
        }
    }

    /// The words for cargo that build it, run by run.
    #[must_use]
    pub fn build_commands(&self) -> Vec<Vec<&'static str>> {
        let mut commands = Vec::new();
        if !self.builds.is_empty() {
            commands.push(self.builds.to_vec());
        }
        if let Runs::Tests(words) = self.runs {
            commands.push(["test", "--no-run"].into_iter().chain(words.iter().copied()).collect());
        }
        commands
    }

    /// The words for cargo that run it, or the tests of it that have `filter` in their names.
    #[must_use]
    pub fn run_command<'a>(&self, filter: &'a str) -> Vec<&'a str> {
        match self.runs {
            Runs::Tests(words) => {
                let filter = (!filter.is_empty()).then_some(filter);
                ["test"].into_iter().chain(words.iter().copied()).chain(["--"]).chain(filter).collect()
            }
            Runs::Simulation => vec![
                "run",
                "-p",
                "leasehold-testkit",
                "--bin",
                "sim",
                "--",
                "--seeds",
                SEEDS,
                "--steps",
                STEPS,
                "--seed",
                FIRST_SEED,
            ],
        }
    }
}
