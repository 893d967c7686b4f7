//! What the fuzz targets share, and those whose subject is public. Private decoders have theirs in `fuzzing` of their crate.

// As the tests of the workspace know it.
#[path = "../../../crates/testkit/src/dump.rs"]
#[allow(dead_code)]
mod dump;

mod draw;
pub mod dumps;
pub mod redis;
#[allow(dead_code)]
mod replay;
pub mod state_machine;

use std::alloc::System;

use cap::Cap;
use replay::Target;

/// What one input may hold in memory: above the largest message, snapshot row and log entry, and far below what a length field
/// can announce.
const HEAP_BYTES_MAX: usize = 256 << 20;

/// Past the bound an allocation fails, which ends the process: the fuzzer keeps the input.
#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, HEAP_BYTES_MAX);

/// All targets, of all crates.
pub fn targets() -> Vec<Target> {
    let lists = [
        state_machine::TARGETS,
        redis::TARGETS,
        dumps::TARGETS,
        leasehold_consensus::fuzzing::TARGETS,
        leasehold_frontend::fuzzing::TARGETS,
        leasehold_client::fuzzing::TARGETS,
        leasehold::fuzzing::TARGETS,
    ];
    lists.concat()
}

/// What the target of this name does with an input. Found when the program is compiled, so that it holds nothing of the others.
///
/// # Panics
/// When there is none.
#[must_use]
pub const fn run_of(targets: &[Target], name: &str) -> fn(&[u8]) -> bool {
    let mut at = 0;
    while at < targets.len() {
        if same(targets[at].0.as_bytes(), name.as_bytes()) {
            return targets[at].1;
        }
        at += 1;
    }
    panic!("no target has this name")
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// The program of one target.
#[macro_export]
macro_rules! program {
    ($targets:path, $name:literal) => {
        const RUN: fn(&[u8]) -> bool = $crate::run_of($targets, $name);
        libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            RUN(data);
        });
    };
}
