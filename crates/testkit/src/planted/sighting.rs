//! Where the simulation finds a planted bug: which fault it takes, and in which seed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use comfy_table::{ContentArrangement, Table, presets};

use super::child::{Ended, cargo};
use super::{Part, Patch, Scratch, Tier, Trial};
use crate::sim::SimFault;

/// The seeds of CI: a bug for which a fault is there has to be found in them.
const SEEDS: &str = "200";
const FIRST_SEED: &str = "1";
const STEPS: &str = "10000";
/// Characters of a problem that a table shows, where it names no invariant.
const SHOWN_MAX: usize = 60;

/// What the head of a patch says of the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// A fault that is there for bugs like this one.
    pub fault: SimFault,
    /// The first of CI's seeds that found it.
    pub seed: u64,
}

impl Sighting {
    /// From words such as `kill, seed 3`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (fault, seed) = text.split_once(", seed ").with_context(|| format!("{text:?} is no `FAULT, seed N`"))?;
        Ok(Self { fault: fault.parse().map_err(anyhow::Error::msg)?, seed: seed.parse()? })
    }
}

/// What came of repeating it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeated {
    /// The seed that found it now; None: no seed of CI did.
    pub found: Option<Found>,
    /// What building and simulating took.
    pub took: Duration,
}

/// A seed that found a bug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub seed: u64,
    /// The invariants that did not hold.
    pub broken: String,
    /// The same seed finds it without the fault too.
    pub without: bool,
}

impl Trial {
    /// Plants a bug and repeats what its head says. Where that seed finds it no more (any change moves what happens in a seed), the
    /// first of CI's seeds that does.
    pub async fn repeat(&self, scratch: &mut Scratch, patch: &Patch, sighting: Sighting) -> Result<Repeated> {
        scratch.plant(patch)?;
        self.build(scratch, Tier::named("simulation")?, &Part::default()).await?;
        let mut took = Duration::ZERO;
        let known = sighting.seed.to_string();
        let mut seen = self.simulate(scratch, &["--seeds", "1", "--seed", &known], &mut took).await?;
        if seen.is_none() {
            let all = ["--seeds", SEEDS, "--seed", FIRST_SEED, "--stop-at-first"];
            seen = self.simulate(scratch, &all, &mut took).await?;
        }
        let Some((seed, broken)) = seen else { return Ok(Repeated { found: None, took }) };
        let (text, fault) = (seed.to_string(), sighting.fault.to_string());
        let words = ["--seeds", "1", "--seed", &text, "--without", &fault];
        let without = self.simulate(scratch, &words, &mut took).await?.is_some();
        Ok(Repeated { found: Some(Found { seed, broken, without }), took })
    }

    /// The first seed that found something, and what.
    async fn simulate(&self, scratch: &Scratch, words: &[&str], took: &mut Duration) -> Result<Option<(u64, String)>> {
        let words: Vec<&str> = ["run", "-p", "leasehold-testkit", "--bin", "sim", "--", "--once", "--steps", STEPS]
            .iter()
            .chain(words)
            .copied()
            .collect();
        let limit = Tier::named("simulation")?.limit;
        let ended = cargo(&words, scratch.sources(), scratch.target(), self.notes(), limit).await?;
        *took += ended.took;
        if ended.succeeded() { Ok(None) } else { first_seed(&ended).map(Some) }
    }
}

/// The first seed that the simulation names, and the invariants that it broke.
fn first_seed(ended: &Ended) -> Result<(u64, String)> {
    let mut lines = ended.stdout.lines();
    let seed = lines.by_ref().find_map(|line| line.strip_prefix("seed ")?.strip_suffix(':')?.parse().ok());
    let seed = seed.with_context(|| format!("the simulation names no seed: {}", ended.stderr.trim()))?;
    let problems = lines.map_while(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with("repeat: "));
    let broken: BTreeSet<String> = problems.map(invariant).collect();
    Ok((seed, broken.into_iter().collect::<Vec<_>>().join(", ")))
}

/// `C4` of `C4 (a lease is never given away early): …`, or what else it says.
fn invariant(problem: &str) -> String {
    let name: String = problem.chars().take_while(char::is_ascii_alphanumeric).collect();
    let number = name.strip_prefix('C').is_some_and(|number| number.parse::<u8>().is_ok());
    if number { name } else { problem.chars().take(SHOWN_MAX).collect() }
}

/// What was repeated, as a table.
#[derive(Debug, Default)]
pub struct Sightings(Vec<(String, Sighting, Repeated)>);

const HEAD: [&str; 6] = ["fault", "planted bug", "seed", "same seed without the fault", "what broke", "seeds, s"];

impl Sightings {
    /// Adds one.
    pub fn add(&mut self, patch: &Patch, sighting: Sighting, repeated: Repeated) {
        self.0.push((patch.name.clone(), sighting, repeated));
        self.0.sort_by_key(|(_, sighting, _)| sighting.fault);
    }

    /// Whether every bug was found by some seed.
    #[must_use]
    pub fn all_found(&self) -> bool {
        self.0.iter().all(|(_, _, repeated)| repeated.found.is_some())
    }

    /// For a terminal.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(HEAD);
        for row in &self.0 {
            table.add_row(cells(row));
        }
        table.to_string()
    }

    /// For a page.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!("| {} |\n|{}\n", HEAD.join(" | "), " --- |".repeat(HEAD.len()));
        for row in &self.0 {
            // Writing to a string does not fail.
            let _ = writeln!(text, "| {} |", cells(row).map(|cell| cell.replace('|', "\\|")).join(" | "));
        }
        text
    }

    /// Seeds that are no longer the ones in the heads.
    pub fn notes(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().filter_map(|(name, sighting, repeated)| {
            let found = repeated.found.as_ref().filter(|found| found.seed != sighting.seed)?;
            Some(format!("{name}: {} finds it in seed {} now, not in {}", sighting.fault, found.seed, sighting.seed))
        })
    }
}

fn cells((name, sighting, repeated): &(String, Sighting, Repeated)) -> [String; 6] {
    let took = format!("{:.0}", repeated.took.as_secs_f64());
    let fault = sighting.fault.to_string();
    match &repeated.found {
        Some(Found { seed, broken, without }) => {
            let without = if *without { "found too" } else { "not found" };
            [fault, format!("`{name}`"), seed.to_string(), without.to_owned(), broken.clone(), took]
        }
        None => [fault, format!("`{name}`"), "NOT FOUND".to_owned(), String::new(), String::new(), took],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sighting_names_a_fault_and_a_seed() {
        assert_eq!(Sighting::parse("power-cut, seed 17").unwrap(), Sighting { fault: SimFault::PowerCut, seed: 17 });
        assert!(Sighting::parse("power-cut").is_err());
        assert!(Sighting::parse("earthquake, seed 17").is_err());
    }

    #[test]
    fn the_first_seed_and_what_it_broke_are_read() {
        let stdout = "4 calls\nseed 3:\n  C4 (never early): one\n  C4 (never early): two\n  C13 (progress): x\n  \
                      repeat: cargo run\nseed 9:\n  C1: y\n";
        let ended = Ended { status: None, took: Duration::ZERO, stdout: stdout.into(), stderr: String::new() };
        assert_eq!(first_seed(&ended).unwrap(), (3, "C13, C4".to_owned()));
        assert_eq!(invariant("Cannot say why"), "Cannot say why");
    }
}
