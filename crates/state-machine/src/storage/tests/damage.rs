//! A sled folder with garbage in it gives errors, never a panic, and can be discarded.

use std::path::PathBuf;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

/// A folder with some history: several checkpoints, a reopening.
fn folder(dir: &Path) -> Table {
    let mut rows = Table::new();
    for generation in 0..4 {
        let checkpoint = Checkpoint::open(dir).unwrap();
        for part in 0..3 {
            let written = table(700 * (part + 1), generation);
            checkpoint.write(changes(&written)).unwrap();
            rows.extend(written);
        }
    }
    rows
}

fn files_under(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_under(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// What a node does with it; true when it found rows and no error.
fn survives(dir: &Path) -> Result<Table, CheckpointError> {
    let checkpoint = Checkpoint::open(dir)?;
    let rows = rows_of(&checkpoint)?;
    checkpoint.write(changes(&table(10, 99)))?;
    checkpoint.flush()?;
    Ok(rows)
}

#[test]
fn a_folder_of_garbage_is_an_error_and_then_discarded() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("checkpoint");
    folder(&dir);
    for file in files_under(&dir) {
        let length = std::fs::metadata(&file).unwrap().len() as usize;
        std::fs::write(file, vec![0xa5; length]).unwrap();
    }
    let error = survives(&dir).unwrap_err();
    assert!(error.is_discardable(), "{error}");
    assert!(error.to_string().contains(dir.to_str().unwrap()), "{error}");
    Checkpoint::discard(&dir).unwrap();
    assert!(survives(&dir).unwrap().is_empty());
}

#[test]
fn damage_anywhere_is_an_error_or_what_sled_could_save() {
    let seeds: u64 = std::env::var("LEASEHOLD_DAMAGE_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let parent = tempfile::tempdir().unwrap();
    let whole = parent.path().join("whole");
    folder(&whole);
    let mut errors = 0;
    for seed in 0..seeds {
        let mut rng = StdRng::seed_from_u64(seed);
        let dir = parent.path().join(format!("seed-{seed}"));
        copy_dir(&whole, &dir);
        let files = files_under(&dir);
        let file = &files[rng.random_range(0..files.len())];
        let mut bytes = std::fs::read(file).unwrap();
        if bytes.is_empty() {
            bytes.resize(100, 0);
        }
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            let end = (at + rng.random_range(1..5_000)).min(bytes.len());
            match rng.random_range(0..4) {
                0 => bytes[at] ^= 1 << rng.random_range(0..8),
                1 => bytes[at..end].fill(0),
                2 => rng.fill(&mut bytes[at..end]),
                _ => bytes.truncate(at.max(1)),
            }
        }
        std::fs::write(file, bytes).unwrap();
        match survives(&dir) {
            Ok(_) => {}
            Err(error) => {
                assert!(error.is_discardable(), "seed {seed}: {error}");
                errors += 1;
            }
        }
        Checkpoint::discard(&dir).unwrap();
        assert!(survives(&dir).unwrap().is_empty(), "seed {seed}");
    }
    assert!(errors > 0, "no seed of {seeds} was noticed: the test damages nothing");
}

#[test]
fn a_folder_that_a_process_did_not_survive_opening_is_not_tried_again() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("checkpoint");
    folder(&dir);
    std::fs::write(parent.path().join("checkpoint.opening"), "").unwrap();
    for _ in 0..2 {
        let error = Checkpoint::open(&dir).unwrap_err();
        assert!(matches!(error, CheckpointError::Interrupted { .. }), "{error}");
    }
    Checkpoint::discard(&dir).unwrap();
    assert!(survives(&dir).unwrap().is_empty());
    assert_eq!(names_in(parent.path()), ["checkpoint"]);
}
