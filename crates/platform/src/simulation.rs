//! Whether the current thread runs a simulation.

use std::cell::RefCell;

use rand::SeedableRng;
use rand::rngs::StdRng;

thread_local! {
    static RUNNING: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// The simulation of this thread, until dropped.
#[derive(Debug)]
#[must_use = "it ends when this is dropped"]
pub struct Simulation(());

impl Simulation {
    /// From here on this thread draws its randomness from `seed`, and runs blocking work in line: nothing happens beside it.
    ///
    /// # Panics
    /// When one is running on this thread.
    pub fn begin(seed: u64) -> Self {
        RUNNING.with_borrow_mut(|running| {
            assert!(running.is_none(), "one simulation at a time on a thread");
            *running = Some(StdRng::seed_from_u64(seed));
        });
        Self(())
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        RUNNING.with_borrow_mut(|running| *running = None);
    }
}

/// Whether this thread runs one.
#[must_use]
pub fn is_running() -> bool {
    RUNNING.with_borrow(Option::is_some)
}

/// Draws from the simulation of this thread; None without one.
pub(crate) fn draw<T>(draw: impl FnOnce(&mut StdRng) -> T) -> Option<T> {
    RUNNING.with_borrow_mut(|running| running.as_mut().map(draw))
}
