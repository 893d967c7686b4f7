//! Which cells of the matrix fault × role × phase were hit, over any number of runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::fault::{Fault, Role};
use super::phase::Phase;

/// One cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// What was done.
    pub fault: Fault,
    /// To whom.
    pub role: Role,
    /// While a lock was in this phase.
    pub phase: Phase,
}

/// How often each cell was hit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<Cell, u64>);

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    cell: Cell,
    hits: u64,
}

impl Coverage {
    /// All cells that make sense.
    pub fn cells() -> impl Iterator<Item = Cell> {
        let pairs = Fault::ALL.into_iter().flat_map(|fault| fault.roles().into_iter().map(move |role| (fault, role)));
        pairs.flat_map(|(fault, role)| Phase::ALL.into_iter().map(move |phase| Cell { fault, role, phase }))
    }

    /// One more hit.
    pub fn hit(&mut self, cell: Cell) {
        *self.0.entry(cell).or_default() += 1;
    }

    /// How often.
    #[must_use]
    pub fn hits(&self, cell: Cell) -> u64 {
        self.0.get(&cell).copied().unwrap_or(0)
    }

    /// Adds what another run hit.
    pub fn merge(&mut self, other: &Self) {
        for (cell, hits) in &other.0 {
            *self.0.entry(*cell).or_default() += hits;
        }
    }

    /// Cells that make sense and were never hit, of the faults that `counts`.
    pub fn missing(&self, counts: impl Fn(Fault) -> bool) -> Vec<Cell> {
        Self::cells().filter(|cell| counts(cell.fault) && self.hits(*cell) == 0).collect()
    }

    /// Reads a file that [`Coverage::save`] wrote; one that is not there is empty.
    pub fn load(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let lines: Vec<Line> = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        Ok(Self(lines.into_iter().map(|line| (line.cell, line.hits)).collect()))
    }

    /// Writes it, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        let lines: Vec<Line> = self.0.iter().map(|(cell, hits)| Line { cell: *cell, hits: *hits }).collect();
        let temporary = path.with_extension("partial");
        fs::write(&temporary, serde_json::to_string_pretty(&lines)?)?;
        fs::rename(&temporary, path).with_context(|| path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage_survives_a_file_and_names_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("coverage.json");
        let mut coverage = Coverage::load(&path).unwrap();
        let all = coverage.missing(|_| true).len();
        assert_eq!(all, Coverage::cells().count());
        let cell = Cell { fault: Fault::Kill, role: Role::Leader, phase: Phase::Renewing };
        coverage.hit(cell);
        coverage.save(&path).unwrap();
        let mut read = Coverage::load(&path).unwrap();
        assert_eq!(read, coverage);
        read.merge(&coverage);
        assert_eq!(read.hits(cell), 2);
        assert_eq!(read.missing(|_| true).len(), all - 1);
        assert!(!read.missing(|_| true).contains(&cell));
    }

    #[test]
    fn every_cell_makes_sense_or_has_a_reason() {
        for fault in Fault::ALL {
            assert!(!fault.roles().is_empty(), "{fault} is brought on nobody");
        }
        assert!(Coverage::cells().all(|cell| cell.fault.makes_no_sense(cell.role).is_none()));
    }
}
