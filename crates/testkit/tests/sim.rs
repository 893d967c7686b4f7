//! The simulation repeats itself, finds nothing in a few seeds, and finds what it is there for when a promise of the environment is broken.

use std::process::{Command, Output};

use anyhow::{Context, Result};
use serde_json::Value;

fn sim(words: &[&str]) -> Result<(Output, Value)> {
    let folder = tempfile::tempdir()?;
    let json = folder.path().join("summary.json");
    let output = Command::new(env!("CARGO_BIN_EXE_sim")).args(words).arg("--json").arg(&json).output()?;
    let text = std::fs::read_to_string(&json).with_context(|| format!("{output:?}"))?;
    Ok((output, serde_json::from_str(&text)?))
}

/// Every problem of every seed, in one text.
fn problems(summary: &Value) -> String {
    summary["broken"].to_string()
}

#[test]
fn seeds_repeat_themselves_and_hold_what_is_promised() {
    let (output, summary) = sim(&["--seeds", "6", "--seed", "1", "--steps", "6000"]).unwrap();
    assert!(output.status.success(), "{}", problems(&summary));
    assert_eq!(summary["seeds"], 6);
    assert!(summary["grants"].as_u64().unwrap() > 100, "{summary}");
    assert!(summary["hits"].as_array().unwrap().len() > 5, "{summary}");
}

#[test]
fn clocks_beyond_the_bound_are_found() {
    let (output, summary) = sim(&["--seeds", "8", "--seed", "1", "--once", "--clock-ppm", "50000"]).unwrap();
    assert!(!output.status.success());
    let problems = problems(&summary);
    assert!(problems.contains("C4 (a lease is never given away early)"), "{problems}");
    assert!(problems.contains("C11 (log time is monotonic and never ahead of real time)"), "{problems}");
}

#[test]
fn disks_that_lie_are_found() {
    let (output, summary) = sim(&["--seeds", "4", "--seed", "1", "--once", "--lying-disks"]).unwrap();
    assert!(!output.status.success());
    assert!(problems(&summary).contains("was acknowledged"), "{summary}");
}

#[test]
fn bad_words_are_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_sim")).args(["--seeds", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--seeds: 0 is not between 1 and"), "{output:?}");
}
