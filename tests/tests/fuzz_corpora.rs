//! What is kept of the fuzz targets' inputs, run without a fuzzer. Targets of private decoders are run by their own crates.

#![allow(
    unreachable_pub,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the targets' sources are the fuzz workspace's"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use leasehold_testkit::dump;

#[path = "../fuzz/src/draw.rs"]
mod draw;
#[path = "../fuzz/src/dumps.rs"]
mod dumps;
#[path = "../fuzz/src/redis/mod.rs"]
mod redis;
#[path = "../fuzz/src/replay.rs"]
mod replay;
#[path = "../fuzz/src/state_machine/mod.rs"]
mod state_machine;

/// Crates whose `src/fuzzing.rs` has targets.
const CRATES: [&str; 4] = ["consensus", "frontend", "client", "leasehold"];

fn fuzz_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

#[test]
fn kept_inputs_of_the_state_machine_do_no_harm() {
    replay::replay(&fuzz_dir(), state_machine::TARGETS);
}

#[test]
fn kept_inputs_of_the_redis_protocol_do_no_harm() {
    replay::replay(&fuzz_dir(), redis::TARGETS);
}

#[test]
fn kept_dumps_do_no_harm() {
    replay::replay(&fuzz_dir(), dumps::TARGETS);
}

fn names_in(dir: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(fuzz_dir().join(dir)).expect("a folder of the fuzz targets");
    let stem = |path: PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
    entries.map(|entry| stem(entry.expect("an entry of it").path())).collect()
}

/// A target whose inputs nobody replays, or a corpus that no target reads, is a mistake.
#[test]
fn every_target_has_a_program_a_corpus_and_a_replay() {
    let mut replayed: BTreeSet<String> = BTreeSet::new();
    for targets in [state_machine::TARGETS, redis::TARGETS, dumps::TARGETS] {
        replayed.extend(targets.iter().map(|(name, ..)| (*name).to_owned()));
    }
    for name in CRATES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../crates/{name}/src/fuzzing.rs"));
        let source = std::fs::read_to_string(&path).expect("the targets of a crate");
        let list = source.split("const TARGETS").nth(1).and_then(|rest| rest.split("];").next()).expect("a list");
        replayed.extend(list.split("(\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned));
    }
    assert!(replayed.len() >= 20, "{replayed:?}");
    assert_eq!(names_in("targets"), replayed);
    assert_eq!(names_in("corpus"), replayed);
    let manifest = std::fs::read_to_string(fuzz_dir().join("Cargo.toml")).expect("the manifest");
    for name in &replayed {
        assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name} is not in Cargo.toml");
    }
}
