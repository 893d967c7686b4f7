//! A guard against getting slower: instructions that hot paths take on fixed inputs, against committed baselines.
//!
//! Times on shared machines are noise; the number of instructions is not. The program of this crate runs itself under
//! `valgrind --tool=callgrind`, one process per benchmark, and compares what was counted with `baselines.toml`. The benchmarks are in the
//! program and need the feature `counted`; how they are counted and judged is here, where tests reach it. See docs/instruction-counts.md.

mod baselines;
mod callgrind;
mod comparison;

pub use baselines::{Baselines, BaselinesError, MadeWith};
pub use callgrind::{CountError, Counted, count, libc_version, valgrind_version};
pub use comparison::{Verdict, judge, spread_percent};

/// The command that renews the baselines.
pub const RENEW: &str = "cargo instructions --renew";
