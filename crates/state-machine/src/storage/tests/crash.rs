//! kill -9 while checkpoints are written: whole checkpoints are found, or a folder that says that it is unusable.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const DIR_VARIABLE: &str = "LEASEHOLD_CRASH_DIR";
const ROUNDS: u64 = 8;
const ROWS: u32 = 400;

/// Not a test of its own: what the process does that is killed.
#[test]
#[ignore = "started and killed by killed_at_any_moment_only_whole_checkpoints_are_found"]
#[allow(clippy::print_stdout)]
fn write_until_killed() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else { return };
    let checkpoint = Checkpoint::open(Path::new(&dir)).unwrap();
    println!("\nopened");
    for generation in 1.. {
        let rows = table(ROWS, generation);
        if generation % 10 == 0 {
            checkpoint.replace(rows).unwrap();
        } else {
            checkpoint.write(changes(&rows)).unwrap();
        }
        println!("\nwritten");
    }
}

#[test]
fn killed_at_any_moment_only_whole_checkpoints_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(7);
    let mut found = 0;
    for round in 0..ROUNDS {
        let path = dir.path().join(format!("round-{round}"));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "storage::tests::crash::write_until_killed", "--ignored", "--nocapture"])
            .env(DIR_VARIABLE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let writes = rng.random_range(1..60);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let seen = lines.map(Result::unwrap).filter(|line| line == "written").take(writes).count();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(seen, writes, "the writer ended by itself");

        match Checkpoint::open(&path) {
            Ok(checkpoint) => {
                // A replacement cut short says so; anything else is one generation, whole.
                if checkpoint.is_replacing() {
                    continue;
                }
                let rows = rows_of(&checkpoint).unwrap();
                let generations: std::collections::BTreeSet<u32> =
                    rows.values().map(|row| generation_of(row)).collect();
                assert_eq!((rows.len(), generations.len()), (ROWS as usize, 1), "round {round}: {generations:?}");
                found += 1;
            }
            Err(error) => assert!(error.is_discardable(), "round {round}: {error}"),
        }
    }
    assert!(found > 0, "no round left a usable checkpoint");
}

fn generation_of(row: &[u8]) -> u32 {
    std::str::from_utf8(row).unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}
