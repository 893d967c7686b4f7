//! What the checker found.

use std::collections::BTreeMap;
use std::fmt;

/// The invariants of TESTING.md that evidence can show to be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the display form says what each one is")]
pub enum Invariant {
    C1,
    C2,
    C3,
    C4,
    C5,
    C6,
    C7,
    C8,
    C9,
    C10,
    C11,
    C12,
    C13,
    Linearizable,
}

impl Invariant {
    fn rule(self) -> &'static str {
        match self {
            Self::C1 => "every node applies the same log, as the model does",
            Self::C2 => "fencing tokens strictly increase",
            Self::C3 => "grants are linearizable",
            Self::C4 => "a lease is never given away early",
            Self::C5 => "an expiry is not late",
            Self::C6 => "nothing acknowledged is lost",
            Self::C7 => "one effect per request id",
            Self::C8 => "grants follow the queue, never to the dead",
            Self::C9 => "only the holder releases or renews",
            Self::C10 => "a guarded resource loses no update",
            Self::C11 => "log time is monotonic and never ahead of real time",
            Self::C12 => "reads are linearizable",
            Self::C13 => "without faults there is progress",
            Self::Linearizable => "each lock has one order of all that was done to it",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?} ({})", self.rule())
    }
}

/// One breach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Of what.
    pub invariant: Invariant,
    /// With the tokens, indexes and times concerned.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.message)
    }
}

/// Breaches of one invariant that a report lists; the rest is only counted.
const LISTED_MAX: usize = 10;

/// What was checked, and what was found broken.
#[derive(Debug, Clone, Default)]
pub struct Report {
    violations: Vec<Violation>,
    counts: BTreeMap<Invariant, Count>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    checked: usize,
    broken: usize,
    left_out: usize,
}

impl Report {
    /// One fact was held against an invariant and agrees with it, or does not: then `breach` says how.
    pub(super) fn hold(&mut self, invariant: Invariant, agrees: bool, breach: impl FnOnce() -> String) {
        let count = self.counts.entry(invariant).or_default();
        count.checked += 1;
        if !agrees {
            count.broken += 1;
            if count.broken <= LISTED_MAX {
                self.violations.push(Violation { invariant, message: breach() });
            }
        }
    }

    /// So many facts were held against an invariant at once, and agree with it.
    pub(super) fn agree(&mut self, invariant: Invariant, facts: usize) {
        self.counts.entry(invariant).or_default().checked += facts;
    }

    /// So many facts could not be held against an invariant.
    pub(super) fn leave_out(&mut self, invariant: Invariant, facts: usize) {
        self.counts.entry(invariant).or_default().left_out += facts;
    }

    /// How many facts could not be held against an invariant.
    #[must_use]
    pub fn left_out(&self, invariant: Invariant) -> usize {
        self.counts.get(&invariant).map_or(0, |count| count.left_out)
    }

    /// The first breaches of each invariant.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// How many facts were held against an invariant: a run in which it is 0 has shown nothing about it.
    #[must_use]
    pub fn checked(&self, invariant: Invariant) -> usize {
        self.counts.get(&invariant).map_or(0, |count| count.checked)
    }

    /// Nothing was found broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (invariant, count) in &self.counts {
            let left_out = if count.left_out == 0 { String::new() } else { format!(", {} left out", count.left_out) };
            writeln!(f, "{invariant:?}: {} of {} facts broken{left_out}", count.broken, count.checked)?;
        }
        for violation in &self.violations {
            writeln!(f, "{violation}")?;
        }
        Ok(())
    }
}
