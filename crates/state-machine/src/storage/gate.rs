//! Who may touch the checkpoint: any number of holds, or one writer.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Rows changed since the last checkpoint from which on a hold is to slow the appliers down. They are kept in memory, and all
/// of them go into the next checkpoint.
pub const HOLD_CHANGED_ROWS_MAX: usize = 100_000;
/// How long a checkpoint waits for a hold, in ms, before the hold is to slow the appliers down.
pub const HOLD_MS_MAX: u64 = 10_000;

/// A condition for writers and holds. It guards no data of its own: sled does that.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    holds: usize,
    writing: bool,
    /// A writer has waited for longer than [`HOLD_MS_MAX`].
    overdue: bool,
}

impl Gate {
    /// Enters as a hold: waits for a writer at work, never for other holds. Pair with [`Self::release`].
    pub(super) fn hold(&self) {
        let state = self.state();
        let mut state = self.changed.wait_while(state, |state| state.writing).unwrap_or_else(PoisonError::into_inner);
        state.holds += 1;
    }

    /// Ends a hold.
    pub(super) fn release(&self) {
        let mut state = self.state();
        assert!(state.holds > 0, "a hold is released once");
        state.holds -= 1;
        if state.holds == 0 {
            state.overdue = false;
        }
        self.changed.notify_all();
    }

    /// Enters as the writer: waits for holds and for another writer.
    pub(super) fn write(&self) -> Writing<'_> {
        let closed = |state: &mut State| state.writing || state.holds > 0;
        let (mut state, timeout) = self
            .changed
            .wait_timeout_while(self.state(), Duration::from_millis(HOLD_MS_MAX), closed)
            .unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            state.overdue = state.holds > 0;
            state = self.changed.wait_while(state, closed).unwrap_or_else(PoisonError::into_inner);
        }
        state.writing = true;
        Writing { gate: self }
    }

    /// Whether somebody holds.
    pub(super) fn is_held(&self) -> bool {
        self.state().holds > 0
    }

    /// Whether somebody holds, and one of the two bounds on it is exceeded.
    pub(super) fn is_exceeded(&self, changed_rows: usize) -> bool {
        let state = self.state();
        state.holds > 0 && (state.overdue || changed_rows > HOLD_CHANGED_ROWS_MAX)
    }

    /// Waits until nobody holds; false when that took longer than `timeout`.
    pub(super) fn wait_released(&self, timeout: Duration) -> bool {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.state(), timeout, |state| state.holds > 0)
            .unwrap_or_else(PoisonError::into_inner);
        state.holds == 0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one writer, until dropped.
#[derive(Debug)]
pub(super) struct Writing<'a> {
    gate: &'a Gate,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.gate.state().writing = false;
        self.gate.changed.notify_all();
    }
}
