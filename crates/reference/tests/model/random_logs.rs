//! Random logs: the same outcomes, events and views after every entry, and a state machine that was rebuilt at random
//! points goes on the same.
//!
//! `LEASEHOLD_PROPTEST_COMMANDS` sets how many commands a run has. `LEASEHOLD_PROPTEST_SEED` repeats one part of one.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::coverage::{EXPECTED, Seen};
use crate::draw::log;
use crate::run::{Run, Verdict};
use crate::script::Script;
use crate::steps::Log;

const COMMANDS: u64 = 1_000_000;
/// Parts of a run, each with a seed of its own, on as many threads.
const PARTS: u64 = 4;
/// Logs that are tried to make a failed one smaller.
const SHRINKS_MAX: usize = 4_000;

fn environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

/// Runs a log. A panic of the state machine is a verdict too.
fn judge(log: &Log, run: &mut Run) -> Verdict {
    catch_unwind(AssertUnwindSafe(|| run.log(log))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied());
        Err(format!("panic: {}", text.unwrap_or("of another kind")))
    })
}

fn fails(log: &Log) -> bool {
    judge(log, &mut Run::new(log.tight)).is_err()
}

/// The smallest log found that still fails.
fn shrink(tree: &mut impl ValueTree<Value = Log>) -> Log {
    let mut smallest = tree.current();
    let mut going = tree.simplify();
    for _ in 0..SHRINKS_MAX {
        if !going {
            break;
        }
        let log = tree.current();
        going = if fails(&log) {
            smallest = log;
            tree.simplify()
        } else {
            tree.complicate()
        };
    }
    smallest
}

/// Takes away whole entries and steps for as long as the log still fails: what is left was simplified before, and may not
/// need the others any more.
fn without_the_needless(mut log: Log) -> Log {
    for at in (0..log.entries.len()).rev() {
        let mut shorter = log.clone();
        shorter.entries.remove(at);
        if fails(&shorter) {
            log = shorter;
            continue;
        }
        for step in (0..log.entries[at].steps.len()).rev() {
            let mut shorter = log.clone();
            shorter.entries[at].steps.remove(step);
            if fails(&shorter) {
                log = shorter;
            }
        }
    }
    log
}

fn run_seed(seed: u64, commands: u64) -> Seen {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, rng);
    let strategy = log();
    let seen = RefCell::new(Seen::default());
    let mut count = 0;
    while count < commands {
        let mut tree = strategy.new_tree(&mut runner).expect("every draw is a log");
        let log = tree.current();
        let mut run = Run::new(log.tight);
        if judge(&log, &mut run).is_err() {
            tell(seed, &without_the_needless(shrink(&mut tree)));
        }
        count += log.entries.iter().map(|entry| entry.steps.len() as u64).sum::<u64>();
        seen.borrow_mut().add(run.seen);
    }
    println!("seed {seed}: {count} commands agree");
    seen.into_inner()
}

fn tell(seed: u64, log: &Log) -> ! {
    let mut run = Run::new(log.tight);
    run.script = Some(Script::default());
    let why = judge(log, &mut run).expect_err("the shrunk log fails");
    let script = run.script.unwrap_or_default().0;
    panic!(
        "the state machine and the reference model differ in the last entry of this log (tight bounds: {}, level {}):\n\
         {script}\n{why}\n\
         repeat with: LEASEHOLD_PROPTEST_SEED={seed} cargo test -p leasehold-reference --test model random_logs",
        log.tight, log.level
    )
}

#[test]
fn random_logs_agree_with_the_reference_model() {
    let commands = environment("LEASEHOLD_PROPTEST_COMMANDS").unwrap_or(COMMANDS);
    let seeds: Vec<u64> = match environment("LEASEHOLD_PROPTEST_SEED") {
        Some(seed) => vec![seed],
        None => (0..PARTS).map(|_| rand::random()).collect(),
    };
    let parts: Vec<_> = seeds
        .iter()
        .map(|seed| {
            (
                *seed,
                thread::spawn({
                    let seed = *seed;
                    move || run_seed(seed, commands / PARTS)
                }),
            )
        })
        .collect();
    let mut seen = Seen::default();
    for (seed, part) in parts {
        match part.join() {
            Ok(part) => seen.add(part),
            Err(_) => panic!("the part with seed {seed} failed: see above"),
        }
    }
    println!("{seen}");
    if commands >= COMMANDS && seeds.len() > 1 {
        let missing = seen.missing(EXPECTED);
        assert!(missing.is_empty(), "never happened: {missing:?}");
    }
}
