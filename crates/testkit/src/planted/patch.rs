//! One planted bug: what it breaks, and how.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use diffy::patch_set::{FileOperation, ParseOptions, PatchSet};

use super::sighting::Sighting;
use super::tier::{Part, Tier};

/// Where a bug is expected to be caught.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// The tier.
    pub tier: &'static Tier,
    /// Which tests of it.
    pub part: Part,
}

/// A patch that breaks one rule.
#[derive(Debug, Clone)]
pub struct Patch {
    /// Name of the file, without its extension.
    pub name: String,
    /// The sentence of the design, or the invariant, that no longer holds.
    pub rule: String,
    /// What goes wrong for a user.
    pub harm: String,
    /// The tier that has to notice it at the latest.
    pub tier: &'static Tier,
    /// Tests that are tried before all others.
    pub caught_by: Option<Expectation>,
    /// When it was last seen to be caught by that.
    pub seen: Option<String>,
    /// Faults of the simulation that are there for bugs like it.
    pub simulation: Vec<Sighting>,
    diff: String,
}

impl Patch {
    /// Reads a patch.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.file_stem().and_then(|name| name.to_str()).context("a patch has a name")?;
        let text = std::fs::read_to_string(path).with_context(|| format!("patch {}", path.display()))?;
        Self::parse(name, &text).with_context(|| format!("patch {}", path.display()))
    }

    fn parse(name: &str, text: &str) -> Result<Self> {
        let (head, diff) = text.split_once("\n--- ").context("a head comes before the diff")?;
        let (mut rule, mut harm, mut tier, mut caught_by, mut seen) = (None, None, None, None, None);
        let mut simulation = Vec::new();
        for line in head.lines().filter(|line| !line.is_empty()) {
            let (key, value) = line.split_once(": ").with_context(|| format!("{line:?} is no line of a head"))?;
            match key {
                "Rule" => rule = Some(value.to_owned()),
                "Harm" => harm = Some(value.to_owned()),
                "Seen" => seen = Some(value.to_owned()),
                "Simulation" => simulation.push(Sighting::parse(value)?),
                "Tier" => tier = Some(Tier::named(value)?),
                "Caught-by" => {
                    let (tier, part) = value.split_once(' ').unwrap_or((value, ""));
                    caught_by = Some(Expectation { tier: Tier::named(tier)?, part: Part::parse(part)? });
                }
                other => bail!("a head has no {other}"),
            }
        }
        Ok(Self {
            name: name.to_owned(),
            rule: rule.context("its head has no Rule")?,
            harm: harm.context("its head has no Harm")?,
            tier: tier.context("its head has no Tier")?,
            caught_by,
            seen,
            simulation,
            diff: format!("--- {diff}"),
        })
    }

    /// The files that it changes, below the workspace, with what is in them then. Every hunk must fit in one place and no other.
    pub fn apply(&self, workspace: &Path) -> Result<Vec<(PathBuf, String)>> {
        let mut changed = Vec::new();
        for file in PatchSet::parse(&self.diff, ParseOptions::unidiff()) {
            let file = file.with_context(|| format!("patch {}", self.name))?;
            let FileOperation::Modify { original, modified } = file.operation().strip_prefix(1) else {
                bail!("patch {} makes or removes a file", self.name);
            };
            ensure!(original == modified, "patch {} renames {original}", self.name);
            let text = std::fs::read_to_string(workspace.join(&*original))
                .with_context(|| format!("patch {} changes {original}", self.name))?;
            let patch = file.patch().as_text().context("sources are text")?;
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            for (number, hunk) in patch.hunks().iter().enumerate() {
                let before: Vec<&str> = hunk.lines().iter().filter_map(before).collect();
                let places = lines.windows(before.len()).filter(|window| *window == before).count();
                ensure!(
                    places == 1,
                    "patch {} does not apply: hunk {} fits {places} places of {original}",
                    self.name,
                    number + 1
                );
            }
            let patched = diffy::apply(&text, patch).with_context(|| format!("patch {} to {original}", self.name))?;
            ensure!(patched != text, "patch {} changes nothing in {original}", self.name);
            changed.push((PathBuf::from(&*original), patched));
        }
        ensure!(!changed.is_empty(), "patch {} has no diff", self.name);
        Ok(changed)
    }
}

/// A line as it was before.
fn before<'a>(line: &diffy::Line<'a, str>) -> Option<&'a str> {
    match *line {
        diffy::Line::Context(text) | diffy::Line::Delete(text) => Some(text),
        diffy::Line::Insert(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Rule: one\nHarm: two\nTier: faults\nCaught-by: client a::b\nSimulation: mute, seed 7\n\n\
                        --- a/x/y.rs\n+++ b/x/y.rs\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n";

    fn applied_to(source: &str, text: &str) -> Result<Vec<(PathBuf, String)>> {
        let dir = tempfile::tempdir()?;
        std::fs::create_dir(dir.path().join("x"))?;
        std::fs::write(dir.path().join("x/y.rs"), source)?;
        Patch::parse("p", text)?.apply(dir.path())
    }

    #[test]
    fn a_head_says_what_is_broken_and_who_should_notice() {
        let patch = Patch::parse("p", TEXT).unwrap();
        assert_eq!((patch.rule.as_str(), patch.harm.as_str(), patch.tier.name), ("one", "two", "faults"));
        let expected = patch.caught_by.unwrap();
        assert_eq!((expected.tier.name, expected.part), ("client", Part::parse("a::b").unwrap()));
        assert_eq!(patch.simulation, [Sighting::parse("mute, seed 7").unwrap()]);
        for missing in ["Rule: one\n", "Harm: two\n", "Tier: faults\n"] {
            assert!(Patch::parse("p", &TEXT.replace(missing, "")).is_err(), "{missing}");
        }
        assert!(Patch::parse("p", &TEXT.replace("faults", "some other day")).is_err());
        assert!(Patch::parse("p", &TEXT.replace("Harm", "Charm")).is_err());
    }

    #[test]
    fn a_diff_applies_wherever_its_lines_have_moved_to() {
        let changed = applied_to("zero\none\ntwo\n", TEXT).unwrap();
        assert_eq!(changed, [(PathBuf::from("x/y.rs"), "zero\none\nthree\n".to_owned())]);
    }

    #[test]
    fn a_diff_that_fits_nowhere_or_in_two_places_is_refused() {
        let nowhere = applied_to("one\nfour\n", TEXT).unwrap_err().to_string();
        assert!(nowhere.contains("fits 0 places"), "{nowhere}");
        let twice = applied_to("one\ntwo\none\ntwo\n", TEXT).unwrap_err().to_string();
        assert!(twice.contains("fits 2 places"), "{twice}");
    }
}
