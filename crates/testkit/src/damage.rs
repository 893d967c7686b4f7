//! Damage to the files of a node that is down.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Unit in which disks lose things.
const PAGE_BYTES: usize = 4_096;
/// A write that was under way when the power went away leaves up to so much undone.
const TORN_BYTES_MAX: usize = 200;

/// What is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The Raft log: its newest file.
    Log,
    /// The log's mark, which remembers what was acknowledged.
    Mark,
    /// The checkpoint (sled): its largest file.
    Checkpoint,
    /// The newest snapshot.
    Snapshot,
    /// The identity file.
    Identity,
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 5] = [Self::Log, Self::Mark, Self::Checkpoint, Self::Snapshot, Self::Identity];

    /// The file in a data folder that damage hits; None when there is none (yet).
    #[must_use]
    pub fn file(self, data_dir: &Path) -> Option<PathBuf> {
        match self {
            Self::Log => last_with_content(&data_dir.join("log").join("wal")),
            Self::Mark => Some(data_dir.join("log").join("mark")).filter(|path| path.exists()),
            Self::Checkpoint => largest(&data_dir.join("checkpoint")),
            Self::Snapshot => all_files(&data_dir.join("snapshots")).pop(),
            Self::Identity => Some(data_dir.join("identity")).filter(|path| path.exists()),
        }
    }
}

/// How it is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Damage {
    /// The last bytes of the content are missing, as of a write that was interrupted.
    TornTail,
    /// One bit of the content has the other value.
    FlippedBit,
    /// A page of the content reads as zeros.
    ZeroedPage,
    /// Half of the file is missing.
    Truncated,
}

impl Damage {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::TornTail, Self::FlippedBit, Self::ZeroedPage, Self::Truncated];

    /// Does it to a part of the data folder of a node that is down; where exactly follows from the seed. Returns the file.
    pub fn inflict(self, data_dir: &Path, part: Part, seed: u64) -> Result<PathBuf> {
        let file = part.file(data_dir).with_context(|| format!("there is no {part:?} in {}", data_dir.display()))?;
        self.inflict_on(&file, seed)?;
        Ok(file)
    }

    /// Does it to one file.
    pub fn inflict_on(self, file: &Path, seed: u64) -> Result<()> {
        let mut bytes = fs::read(file)?;
        // Some files end in zeros that were never written.
        let content = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        ensure!(content > 0, "{} is empty", file.display());
        let mut random = StdRng::seed_from_u64(seed);
        match self {
            Self::TornTail => bytes.truncate(content - random.random_range(1..=TORN_BYTES_MAX.min(content))),
            Self::FlippedBit => bytes[random.random_range(0..content)] ^= 1 << random.random_range(0..8),
            Self::ZeroedPage => {
                let start = random.random_range(0..content.div_ceil(PAGE_BYTES)) * PAGE_BYTES;
                let end = (start + PAGE_BYTES).min(bytes.len());
                bytes[start..end].fill(0);
            }
            Self::Truncated => bytes.truncate(content / 2),
        }
        Ok(fs::write(file, bytes)?)
    }
}

/// All files below a folder, sorted by path; none where there is no folder.
#[must_use]
pub fn all_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() { files.extend(all_files(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// Copies all files below a folder.
pub fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for file in all_files(from) {
        let target = to.join(file.strip_prefix(from)?);
        fs::create_dir_all(target.parent().context("a file lies in a folder")?)?;
        fs::copy(&file, &target)?;
    }
    Ok(())
}

fn length(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |meta| meta.len())
}

fn largest(folder: &Path) -> Option<PathBuf> {
    all_files(folder).into_iter().max_by_key(|file| length(file))
}

/// Files of the log are named in the order in which they are written; the newest may have nothing in it yet.
fn last_with_content(folder: &Path) -> Option<PathBuf> {
    all_files(folder).into_iter().rfind(|file| length(file) > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_damage_changes_the_content_and_follows_from_the_seed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let content: Vec<u8> = (0..3 * PAGE_BYTES).map(|at| (at % 251) as u8 + 1).chain([0; 500]).collect();
        for damage in Damage::ALL {
            for seed in 0..20 {
                let damaged = || {
                    fs::write(&file, &content).unwrap();
                    damage.inflict_on(&file, seed).unwrap();
                    fs::read(&file).unwrap()
                };
                let once = damaged();
                assert_eq!(once, damaged(), "{damage:?} with seed {seed}");
                let kept = once.iter().zip(&content).take_while(|(a, b)| a == b).count();
                assert!(kept < 3 * PAGE_BYTES, "{damage:?} with seed {seed} changed nothing that counts");
            }
        }
    }
}
