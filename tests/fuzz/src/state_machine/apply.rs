//! `apply`, on entries that decode from the input, and on entries drawn from it.

use bytes::Bytes;
use leasehold_state_machine::{Batch, Bounds, Effects, EventKind, LeaderStamp, codec};

use super::draws::{self, Said};
use super::invariants::Watched;
use crate::draw::Draw;

/// Entries of one input.
const ENTRIES_MAX: usize = 24;
const SEED_LOGS: u8 = 6;

/// One applied entry of a drawn log.
pub struct Entry {
    pub batch: Batch,
    pub effects: Effects,
}

/// Entries as they lie in a log: the length of each (two bytes), then its bytes.
pub fn run_bytes(data: &[u8]) -> bool {
    let mut watched = Watched::new(Bounds::default());
    let mut draw = Draw::new(data);
    let mut understood = false;
    for _ in 0..ENTRIES_MAX {
        if draw.is_empty() {
            break;
        }
        let length = usize::from(u16::from_le_bytes([draw.byte(), draw.byte()]));
        let Ok(batch) = codec::decode_batch(draw.take(length)) else { continue };
        understood = true;
        watched.apply(batch.stamped_by, &batch);
    }
    understood
}

pub fn seeds_of_bytes() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for log in seed_logs() {
        let mut seed = Vec::new();
        for entry in drawn(&log) {
            let commands: Vec<Bytes> = entry.batch.commands.iter().map(codec::encode_command).collect();
            let bytes = codec::encode_batch(entry.batch.at, entry.batch.stamped_by, &commands);
            let length = u16::try_from(bytes.len()).expect("drawn batches are short");
            seed.extend_from_slice(&length.to_le_bytes());
            seed.extend_from_slice(&bytes);
        }
        seeds.push(seed);
    }
    seeds
}

/// Entries by choice; see [`draws`].
pub fn run_drawn(data: &[u8]) -> bool {
    !drawn(data).is_empty()
}

pub fn seeds_of_draws() -> Vec<Vec<u8>> {
    seed_logs()
}

/// All entries of the seeds.
pub fn entries_of_seeds() -> Vec<Entry> {
    seed_logs().iter().flat_map(|log| drawn(log)).collect()
}

/// Applies a drawn log, watched.
pub fn drawn(data: &[u8]) -> Vec<Entry> {
    let mut draw = Draw::new(data);
    let bounds = bounds(&mut draw);
    let mut watched = Watched::new(bounds);
    let mut said = Said::default();
    let mut entries = Vec::new();
    let mut term = 1;
    let founding = draws::found(&mut draw);
    let effects = watched.apply(founding.stamped_by, &founding);
    entries.push(Entry { batch: founding, effects });
    while !draw.is_empty() && entries.len() < ENTRIES_MAX {
        if draw.one_in(32) {
            term += 1;
        }
        let batch = draws::next(&mut draw, &mut said, watched.machine.now(), term);
        let effects = watched.apply(LeaderStamp { term, node: 1 }, &batch);
        for event in &effects.events {
            if let EventKind::Granted { granted, .. } = &event.kind {
                said.granted(&event.namespace, granted);
            }
        }
        entries.push(Entry { batch, effects });
    }
    entries
}

fn bounds(draw: &mut Draw<'_>) -> Bounds {
    if !draw.one_in(4) {
        return Bounds::default();
    }
    Bounds {
        expiries_per_entry_max: 1 + usize::from(draw.below(3)),
        expiries_beside_commands_max: 2,
        instances_max: 1 + usize::from(draw.below(3)),
        requests_max: 1 + usize::from(draw.below(8)),
        losses_max: 1 + usize::from(draw.below(3)),
        limited_namespaces_max: 1,
        lock_delays_max: 1 + usize::from(draw.below(3)),
    }
}

/// Choices without a pattern, the same every time.
fn seed_logs() -> Vec<Vec<u8>> {
    let log = |seed: u8| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::from(seed) + 1);
        let mut bytes = Vec::with_capacity(800);
        for _ in 0..100 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes
    };
    (0..SEED_LOGS).map(log).collect()
}
