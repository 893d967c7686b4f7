//! Runs what is kept of a target's inputs, and the seeds that the code makes, without a fuzzer.

use std::fs;
use std::path::{Path, PathBuf};

/// A fuzz target: its name, what it does with an input (whether the input was understood), and inputs made from real data.
pub(crate) type Target = (&'static str, fn(&[u8]) -> bool, fn() -> Vec<Vec<u8>>);

/// Tells which input it was, should a target panic.
struct Running<'a>(&'a str, String);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("fuzz target {} failed on {}", self.0, self.1);
        }
    }
}

/// Runs seeds and corpora. Seeds are real data: all of them are understood, whatever the version of their encoding.
pub(crate) fn replay(fuzz_dir: &Path, targets: &[Target]) {
    for (name, run, seeds) in targets {
        let seeds = seeds();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for (number, seed) in seeds.iter().enumerate() {
            let _running = Running(name, format!("seed {number}"));
            assert!(run(seed), "seed {number} of {name} is not understood");
        }
        let kept = files(&fuzz_dir.join("corpus").join(name));
        assert!(!kept.is_empty(), "{name} has no corpus");
        for path in &kept {
            let _running = Running(name, path.display().to_string());
            run(&fs::read(path).expect("a file of the corpus"));
        }
        println!("{name}: {} seeds, {} inputs", seeds.len(), kept.len());
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry of the corpus").path()).collect();
    files.sort();
    files
}
