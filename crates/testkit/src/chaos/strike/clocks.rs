//! Faults of the clocks.

use anyhow::Result;
use rand::Rng;
use rand::rngs::StdRng;

use super::super::arena::Arena;
use super::super::fault::Fault;

/// What the wall clock jumps by.
const JUMP_S: i64 = 3_600;
/// The bound on drift that the product promises to bear by default, in parts per million.
const DRIFT_MAX_PPM: i64 = 1_000;

pub(super) fn strike(
    arena: &mut Arena,
    fault: Fault,
    id: u64,
    random: &mut StdRng,
    notes: &mut Vec<String>,
) -> Result<()> {
    let forward = random.random::<bool>();
    let sign = if forward { 1 } else { -1 };
    notes.push(if forward { "forward" } else { "back" }.to_owned());
    match fault {
        Fault::ClockRate => arena.set_clock(id, sign * DRIFT_MAX_PPM, 0),
        _ => arena.set_clock(id, 0, sign * JUMP_S),
    }
}

/// Forth and back, at every fifth tick.
pub(super) fn strobe(arena: &mut Arena, id: u64, ticks: u64) -> Result<()> {
    if !ticks.is_multiple_of(5) {
        return Ok(());
    }
    let sign = if ticks.is_multiple_of(10) { 1 } else { -1 };
    arena.set_clock(id, 0, sign * JUMP_S)
}
