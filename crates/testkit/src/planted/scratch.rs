//! A copy of the sources that bugs are planted in, with a target folder of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Patch;

/// Settings of cargo.
const SETTINGS: &str = ".cargo";
/// What a build and its tests need of a workspace. Everything else stays where it is.
const COPIED: [&str; 9] =
    ["Cargo.toml", "Cargo.lock", SETTINGS, "clippy.toml", "crates", "deploy", "docs", "proto", "tests"];
/// Folders that may lie in there and are no sources.
const LEFT: [&str; 3] = ["target", "node_modules", ".git"];

/// Sources to plant bugs in. Cargo looks at the times of files, so a file is written only where it differs: then only what depends on
/// it is built anew.
#[derive(Debug)]
pub struct Scratch {
    origin: PathBuf,
    sources: PathBuf,
    target: PathBuf,
    /// What was changed since the sources were clean.
    changed: BTreeSet<PathBuf>,
}

impl Scratch {
    /// Copies the workspace at `origin` into `folder`, or brings an older copy up to date.
    pub fn at(folder: &Path, origin: &Path) -> Result<Self> {
        let sources = folder.join("sources");
        fs::create_dir_all(&sources)?;
        // Cargo reads the settings of every folder above, and adds flags to flags: a copy below its origin has them already.
        let below = sources.canonicalize()?.starts_with(origin.canonicalize()?);
        for name in COPIED.into_iter().filter(|name| !(below && *name == SETTINGS)) {
            let (from, to) = (origin.join(name), sources.join(name));
            if from.exists() {
                update(&from, &to).with_context(|| format!("copying {}", from.display()))?;
            }
        }
        let target = folder.join("target");
        Ok(Self { origin: origin.to_owned(), sources, target, changed: BTreeSet::new() })
    }

    /// Begins with what the target folder `from` has of other people's crates, by hard links: these take most of the time and are the
    /// same in both. Returns how many files there were.
    pub fn borrow_dependencies(&self, from: &Path) -> Result<usize> {
        let mut files = 0;
        for folder in ["debug/deps", "debug/build", "debug/.fingerprint"] {
            let (from, to) = (from.join(folder), self.target.join(folder));
            if !from.is_dir() || to.exists() {
                continue;
            }
            for entry in fs::read_dir(&from)? {
                let entry = entry?;
                let name = entry.file_name();
                if is_foreign(&name.to_string_lossy(), folder.ends_with("deps")) {
                    files += link(&entry.path(), &to.join(name))?;
                }
            }
        }
        Ok(files)
    }

    /// The sources.
    #[must_use]
    pub fn sources(&self) -> &Path {
        &self.sources
    }

    /// Where they are built.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Takes out what was planted before, and plants this.
    pub fn plant(&mut self, patch: &Patch) -> Result<()> {
        let changed = patch.apply(&self.origin)?;
        let kept: BTreeSet<PathBuf> = changed.iter().map(|(path, _)| path.clone()).collect();
        self.clean_but(&kept)?;
        for (path, text) in changed {
            fs::write(self.sources.join(&path), text)?;
            self.changed.insert(path);
        }
        Ok(())
    }

    /// Takes out what was planted.
    pub fn clean(&mut self) -> Result<()> {
        self.clean_but(&BTreeSet::new())
    }

    fn clean_but(&mut self, kept: &BTreeSet<PathBuf>) -> Result<()> {
        for path in std::mem::take(&mut self.changed) {
            if !kept.contains(&path) {
                // Not `fs::copy`, which would keep nothing of the file's age either, but its permissions.
                fs::write(self.sources.join(&path), fs::read(self.origin.join(&path))?)?;
            }
        }
        Ok(())
    }
}

impl Drop for Scratch {
    /// Whoever looks into the copy later finds the sources as they are.
    fn drop(&mut self) {
        let _ = self.clean();
    }
}

/// Makes `to` the same as `from`.
fn update(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            if !LEFT.iter().any(|left| name == *left) {
                update(&from.join(&name), &to.join(&name))?;
                names.insert(name);
            }
        }
        for entry in fs::read_dir(to)? {
            let entry = entry?;
            if !names.contains(&entry.file_name()) {
                if entry.path().is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
            }
        }
    } else if from.is_file() {
        let content = fs::read(from)?;
        if fs::read(to).ok().as_ref() != Some(&content) {
            fs::write(to, content)?;
            // Scripts stay scripts.
            fs::set_permissions(to, fs::metadata(from)?.permissions())?;
        }
    }
    Ok(())
}

/// Whether something in a target folder was not made from this workspace. Of `deps` only what other crates read: programs of
/// tests are named as one likes.
fn is_foreign(name: &str, of_deps: bool) -> bool {
    let library = [".rlib", ".rmeta", ".so"].iter().any(|suffix| name.ends_with(suffix));
    let ours = name.starts_with("leasehold") || name.starts_with("libleasehold");
    !ours && (!of_deps || library)
}

fn link(from: &Path, to: &Path) -> Result<usize> {
    if from.is_dir() {
        let mut files = 0;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            files += link(&from.join(&name), &to.join(&name))?;
        }
        return Ok(files);
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::hard_link(from, to)?;
    Ok(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_follows_its_origin_and_leaves_what_is_equal_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (origin, copy) = (dir.path().join("origin"), dir.path().join("copy"));
        fs::create_dir_all(origin.join("crates/a/target")).unwrap();
        fs::write(origin.join("crates/a/one.rs"), "one").unwrap();
        fs::write(origin.join("crates/a/two.rs"), "two").unwrap();
        fs::write(origin.join("crates/a/target/big"), "big").unwrap();
        let sources = Scratch::at(&copy, &origin).unwrap().sources().to_owned();
        let age = |name: &str| fs::metadata(sources.join(name)).unwrap().modified().unwrap();
        let before = age("crates/a/one.rs");
        assert!(!sources.join("crates/a/target").exists());
        fs::write(origin.join("crates/a/two.rs"), "2").unwrap();
        fs::write(sources.join("crates/a/gone.rs"), "gone").unwrap();
        Scratch::at(&copy, &origin).unwrap();
        assert_eq!(fs::read_to_string(sources.join("crates/a/two.rs")).unwrap(), "2");
        assert!(!sources.join("crates/a/gone.rs").exists());
        assert_eq!(age("crates/a/one.rs"), before);
    }

    #[test]
    fn a_copy_below_its_origin_has_its_settings_once() {
        let dir = tempfile::tempdir().unwrap();
        let origin = dir.path().join("origin");
        fs::create_dir_all(origin.join(".cargo")).unwrap();
        fs::write(origin.join(".cargo/config.toml"), "").unwrap();
        let beside = Scratch::at(&dir.path().join("beside"), &origin).unwrap();
        assert!(beside.sources().join(".cargo/config.toml").exists());
        let below = Scratch::at(&origin.join("target/below"), &origin).unwrap();
        assert!(!below.sources().join(".cargo").exists());
    }

    #[test]
    fn only_other_peoples_crates_are_borrowed() {
        assert!(is_foreign("libtokio-0123.rlib", true));
        assert!(is_foreign("tokio-0123", false));
        assert!(!is_foreign("libleasehold_proto-0123.rmeta", true));
        assert!(!is_foreign("leasehold-proto-0123", false));
        // A program of tests of ours may be named so.
        assert!(!is_foreign("faults-0123", true));
    }
}
