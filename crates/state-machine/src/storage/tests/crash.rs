//! kill -9 while checkpoints are written: whole checkpoints are found, or none, or a folder that says that it is
//! unusable; never another state than one that was written, nor one from before the last flush.
//!
//! What is found may be older than the last write that returned. sled keeps a batch in a buffer until the next one or a
//! flush, and a thread of its own writes that buffer. The first version of this test took it for granted that the first
//! batch was in the file once it was written, and failed on a loaded machine, where the kill came before that thread.

use std::io::{BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::tables::{Log, assert_same};
use super::*;

const DIR_VARIABLE: &str = "LEASEHOLD_CRASH_DIR";
/// The writer ends by itself, without a word to sled, once it has written this often.
const WRITES_VARIABLE: &str = "LEASEHOLD_CRASH_WRITES";
/// After so many lines of the writer it is killed; then after random numbers of them.
const FIRST_WRITES: [usize; 3] = [1, 2, 10];
const ROUNDS: usize = 8;
const ROWS: u32 = 400;
/// One write in so many makes all of them durable.
const FLUSH_EVERY: usize = 10;

/// Not a test of its own: what the process does that is killed.
#[test]
#[ignore = "started and killed by killed_at_any_moment_only_whole_checkpoints_are_found and others"]
fn write_rows_until_killed() {
    write_until_killed(|checkpoint, generation| {
        let rows = table(ROWS, generation as u32);
        if generation.is_multiple_of(FLUSH_EVERY) {
            checkpoint.replace(rows).unwrap();
        } else {
            checkpoint.write(changes(&rows)).unwrap();
        }
    });
}

/// Not a test of its own either.
#[test]
#[ignore = "started and killed by killed_at_any_moment_no_state_is_loaded_that_never_was"]
fn write_states_until_killed() {
    let mut log = Log::founded();
    write_until_killed(|checkpoint, generation| {
        advance(&mut log, generation);
        checkpoint.write(log.state.take_changes()).unwrap();
        if generation.is_multiple_of(FLUSH_EVERY) {
            checkpoint.flush().unwrap();
        }
    });
}

#[allow(clippy::print_stdout)]
fn write_until_killed(mut write: impl FnMut(&Checkpoint, usize)) {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else { return };
    let writes_max = std::env::var(WRITES_VARIABLE).map_or(usize::MAX, |writes| writes.parse().unwrap());
    let checkpoint = Checkpoint::open(Path::new(&dir)).unwrap();
    for generation in 1..=writes_max {
        write(&checkpoint, generation);
        println!("\nwritten");
    }
    std::process::exit(0);
}

#[test]
fn killed_at_any_moment_only_whole_checkpoints_are_found() {
    let mut found = 0;
    for (path, written, context) in rounds("write_rows_until_killed") {
        let checkpoint = match Checkpoint::open(&path) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                assert!(error.is_discardable(), "{context}: {error}");
                continue;
            }
        };
        // A replacement cut short says so; anything else is one generation, whole.
        if checkpoint.is_replacing() {
            assert!((written + 1).is_multiple_of(FLUSH_EVERY), "{context}: nothing was being replaced");
            assert!(checkpoint.load().unwrap().is_none());
            continue;
        }
        let generation = generation_of(&rows_of(&checkpoint).unwrap(), &context);
        assert_in_time(generation, written, &context);
        found += usize::from(generation > 0);
    }
    assert!(found > 0, "no round left a usable checkpoint");
}

#[test]
fn killed_at_any_moment_no_state_is_loaded_that_never_was() {
    let mut found = 0;
    for (path, written, context) in rounds("write_states_until_killed") {
        let checkpoint = match Checkpoint::open(&path).and_then(|checkpoint| checkpoint.load()) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                assert!(error.is_discardable(), "{context}: {error}");
                continue;
            }
        };
        let Some(mut state) = checkpoint else {
            assert_in_time(0, written, &context);
            continue;
        };
        // The same entries again, up to the one that the checkpoint says it is of.
        let mut log = Log::founded();
        let mut generation = 0;
        while log.state.applied() < state.applied() {
            generation += 1;
            advance(&mut log, generation);
        }
        assert_in_time(generation, written, &context);
        assert_same(&mut state, &mut log.state);
        found += 1;
    }
    assert!(found > 0, "no round left a usable checkpoint");
}

/// The kill of the story above, without a race: the process ends as soon as its write has returned.
#[test]
fn ended_right_after_its_first_write_a_process_may_leave_no_checkpoint_yet() {
    let dir = tempfile::tempdir().unwrap();
    for writes in [1, FLUSH_EVERY] {
        let path = dir.path().join(writes.to_string());
        let mut writer = Writer::start("write_rows_until_killed", &path, Some(writes));
        assert_eq!(writer.wait_for_writes(usize::MAX), writes);
        assert!(writer.child.wait().unwrap().success());
        let checkpoint = Checkpoint::open(&path).unwrap();
        let generation = generation_of(&rows_of(&checkpoint).unwrap(), "the only round");
        assert_in_time(generation, writes, "the only round");
        if generation == 0 {
            assert!(checkpoint.load().unwrap().is_none(), "no row, no state");
        }
        // It goes on from whatever is there.
        checkpoint.replace(table(ROWS, 99)).unwrap();
        assert_eq!(rows_of(&checkpoint).unwrap(), table(ROWS, 99));
    }
}

/// Lets a writer write and kills it, round by round: the folder, how many writes had returned, and what to say in messages.
fn rounds(writer: &'static str) -> impl Iterator<Item = (PathBuf, usize, String)> {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(7);
    (0..ROUNDS).map(move |round| {
        let path = dir.path().join(format!("round-{round}"));
        let mut writer = Writer::start(writer, &path, None);
        let writes = FIRST_WRITES.get(round).copied().unwrap_or_else(|| rng.random_range(1..60));
        let seen = writer.wait_for_writes(writes);
        writer.child.kill().unwrap();
        writer.child.wait().unwrap();
        assert_eq!(seen, writes, "the writer ended by itself");
        let written = seen + writer.wait_for_writes(usize::MAX);
        (path, written, format!("round {round}, {written} written"))
    })
}

struct Writer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Writer {
    fn start(writer: &str, dir: &Path, writes_max: Option<usize>) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("storage::tests::crash::{writer}"), "--ignored", "--nocapture"])
            .env(DIR_VARIABLE, dir)
            .envs(writes_max.map(|writes| (WRITES_VARIABLE, writes.to_string())))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Counts returned writes: so many, or up to the end of the process.
    fn wait_for_writes(&mut self, count: usize) -> usize {
        self.lines.by_ref().map(Result::unwrap).filter(|line| line == "written").take(count).count()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // A failed assertion leaves no writer behind.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// One checkpoint's worth of entries: grants, waiters, expiries.
fn advance(log: &mut Log, generation: usize) {
    let generation = u32::try_from(generation).unwrap();
    for lock in 0..6 {
        log.acquire((generation * 5 + lock) % 16, 200 + u64::from(generation % 7) * 150);
    }
}

/// The one generation that these rows are, whole; 0 where there are none.
fn generation_of(rows: &Table, context: &str) -> usize {
    let Some(row) = rows.values().next() else { return 0 };
    let generation = std::str::from_utf8(row).unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(*rows == table(ROWS, generation), "{context}: these are not the rows of generation {generation}: {rows:?}");
    generation as usize
}

/// Not before the last flush, and not after what was begun.
fn assert_in_time(generation: usize, written: usize, context: &str) {
    let flushed = written - written % FLUSH_EVERY;
    assert!((flushed..=written + 1).contains(&generation), "{context}: found is generation {generation}");
}
