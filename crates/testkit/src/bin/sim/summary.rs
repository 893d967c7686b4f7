//! What all seeds together came to.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use leasehold_testkit::chaos::phase::Phase;
use leasehold_testkit::sim::{Hit, SimOutcome};

use super::arguments::Arguments;
use super::children::Verdict;

/// Seeds with violations that are shown.
const SHOWN_MAX: usize = 10;

pub(super) struct Summary {
    arguments: Arguments,
    seeds: u64,
    broken: BTreeMap<u64, Vec<String>>,
    hits: BTreeMap<Hit, u64>,
    cells: BTreeMap<(Hit, Phase), u64>,
    steps: u64,
    calls: u64,
    grants: u64,
    entries: u64,
    syncs: u64,
}

fn role(hit: Hit) -> String {
    format!("{:?}", hit.role).to_lowercase()
}

impl Summary {
    pub(super) fn new(arguments: &Arguments) -> Self {
        Self {
            arguments: arguments.clone(),
            seeds: 0,
            broken: BTreeMap::new(),
            hits: BTreeMap::new(),
            cells: BTreeMap::new(),
            steps: 0,
            calls: 0,
            grants: 0,
            entries: 0,
            syncs: 0,
        }
    }

    pub(super) fn add(&mut self, seed: u64, verdict: Verdict) {
        self.seeds += 1;
        let mut problems = Vec::new();
        match verdict {
            Verdict::Done(outcome) => self.count(&outcome, &mut problems),
            Verdict::Differs(outcome, other) => {
                self.count(&outcome, &mut problems);
                problems.push(format!("two runs differ: digests {:016x} and {other:016x}", outcome.digest));
            }
            Verdict::Broken(problem) => problems.push(problem),
        }
        if !problems.is_empty() {
            self.broken.insert(seed, problems);
        }
    }

    fn count(&mut self, outcome: &SimOutcome, problems: &mut Vec<String>) {
        problems.extend(outcome.violations.iter().cloned());
        for hit in &outcome.hits {
            *self.hits.entry(*hit).or_default() += 1;
        }
        for cell in &outcome.cells {
            *self.cells.entry(*cell).or_default() += 1;
        }
        self.steps += outcome.steps;
        self.calls += outcome.calls as u64;
        self.grants += outcome.grants;
        self.entries += outcome.entries;
        self.syncs += outcome.syncs;
    }

    pub(super) fn seeds(&self) -> u64 {
        self.seeds
    }

    pub(super) fn broken(&self) -> usize {
        self.broken.len()
    }

    /// Nothing was found, and where that was asked for, every cell was hit.
    pub(super) fn is_clean(&self) -> bool {
        self.broken.is_empty() && (!self.arguments.require_coverage || self.missing().is_empty())
    }

    /// Cells of fault × role × phase that were never hit.
    fn missing(&self) -> Vec<String> {
        let hits = Hit::all().filter(|hit| !self.arguments.without.contains(&hit.fault));
        let cells = hits.flat_map(|hit| Phase::ALL.into_iter().map(move |phase| (hit, phase)));
        let missing = cells.filter(|cell| !self.cells.contains_key(cell));
        missing.map(|(hit, phase)| format!("{} {} {phase}", hit.fault, role(hit))).collect()
    }

    fn hours(&self) -> f64 {
        self.steps as f64 / 3_600_000.0
    }

    fn seeds_per_minute(&self, took: Duration) -> f64 {
        self.seeds as f64 * 60.0 / took.as_secs_f64().max(0.001)
    }

    pub(super) fn print(&self, took: Duration) {
        println!(
            "{} seeds from {}, {} steps each{}: {:.2} simulated hours in {:.1} s, {:.0} seeds a minute",
            self.seeds,
            self.arguments.first,
            self.arguments.steps,
            if self.arguments.once { "" } else { ", each run twice and compared" },
            self.hours(),
            took.as_secs_f64(),
            self.seeds_per_minute(took)
        );
        println!(
            "{} calls, {} grants, {} log entries, {} syncs, {} faults",
            self.calls,
            self.grants,
            self.entries,
            self.syncs,
            self.hits.values().sum::<u64>()
        );
        println!("{:<14} {:<9} {:>8} {:>8?}", "fault", "role", "hits", Phase::ALL.map(Phase::name));
        for (hit, count) in &self.hits {
            let phases = Phase::ALL.map(|phase| self.cells.get(&(*hit, phase)).copied().unwrap_or(0));
            println!("{:<14} {:<9} {count:>8} {phases:>8?}", hit.fault, role(*hit));
        }
        let missing = self.missing();
        if !missing.is_empty() {
            println!("never hit: {}", missing.join(", "));
        }
        for (seed, problems) in self.broken.iter().take(SHOWN_MAX) {
            println!("seed {seed}:");
            problems.iter().for_each(|problem| println!("  {problem}"));
            let repeat = self.arguments.of_child(*seed).join(" ");
            println!("  repeat: cargo run --release -p leasehold-testkit --bin sim -- {repeat}");
        }
        println!("{} passed, {} failed", self.seeds - self.broken.len() as u64, self.broken.len());
    }

    pub(super) fn json(&self, took: Duration) -> Result<String> {
        let hits: Vec<_> =
            self.hits.iter().map(|(hit, count)| serde_json::json!({ "hit": hit, "count": count })).collect();
        let cells: Vec<_> = self
            .cells
            .iter()
            .map(|((hit, phase), count)| serde_json::json!({ "hit": hit, "phase": phase, "count": count }))
            .collect();
        let broken: Vec<_> = self
            .broken
            .iter()
            .map(|(seed, problems)| serde_json::json!({ "seed": seed, "problems": problems }))
            .collect();
        let summary = serde_json::json!({
            "first": self.arguments.first, "seeds": self.seeds, "steps": self.arguments.steps, "twice": !self.arguments.once,
            "simulated_hours": self.hours(), "seconds": took.as_secs_f64(), "seeds_per_minute": self.seeds_per_minute(took),
            "calls": self.calls, "grants": self.grants, "entries": self.entries, "syncs": self.syncs, "hits": hits, "cells": cells,
            "never_hit": self.missing(),
            "broken": broken,
        });
        Ok(serde_json::to_string_pretty(&summary)?)
    }
}
