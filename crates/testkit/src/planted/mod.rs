//! Planted bugs: patches that break one rule of the product each, and the tiers of tests that have to notice (T6 of TESTING.md).
//!
//! The patches lie in `crates/testkit/planted`, one file each: a head that says which rule is broken and what that would do
//! to a user, then a unified diff against the sources as they are. They are applied to a copy of the sources ([`Scratch`]), never to the
//! product: it has no switches for bugs. [`Trial`] builds the copy and runs the [`Tier`]s, cheap ones first, until one fails.

mod child;
mod choice;
mod patch;
mod report;
mod scratch;
mod sighting;
mod tier;
mod trial;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

pub use choice::choose;
pub use patch::{Expectation, Patch};
pub use report::Report;
pub use scratch::Scratch;
pub use sighting::{Found, Repeated, Sighting, Sightings};
pub use tier::{Part, TIERS, Tier};
pub use trial::{Catch, Trial, Verdict};

/// The folder of the workspace that this was built from.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every patch, by name.
pub fn patches() -> Result<Vec<Patch>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("planted");
    let mut patches = Vec::new();
    for entry in std::fs::read_dir(&dir).with_context(|| format!("{}", dir.display()))? {
        let path = entry?.path();
        ensure!(path.extension().is_some_and(|extension| extension == "patch"), "{} is no patch", path.display());
        patches.push(Patch::read(&path)?);
    }
    patches.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(patches)
}
