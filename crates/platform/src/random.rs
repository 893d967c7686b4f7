//! Randomness: of the operating system, or of the simulation that runs on this thread.

use rand::RngCore;

use crate::simulation::draw;

/// The source of this thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct Source(());

/// The source of this thread.
#[must_use]
pub fn rng() -> Source {
    Source(())
}

impl RngCore for Source {
    fn next_u32(&mut self) -> u32 {
        draw(RngCore::next_u32).unwrap_or_else(|| rand::rng().next_u32())
    }

    fn next_u64(&mut self) -> u64 {
        draw(RngCore::next_u64).unwrap_or_else(|| rand::rng().next_u64())
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        if draw(|random| random.fill_bytes(bytes)).is_none() {
            rand::rng().fill_bytes(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::simulation::{Simulation, is_running};

    #[test]
    fn a_simulation_repeats_itself_and_ends() {
        let draws = |seed| {
            let _simulation = Simulation::begin(seed);
            (rng().random::<u64>(), rng().random_range(0..1_000_000))
        };
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
        assert!(!is_running());
        assert_ne!(rng().random::<u128>(), rng().random::<u128>());
    }
}
