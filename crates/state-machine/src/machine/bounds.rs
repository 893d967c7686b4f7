use crate::{
    EXPIRIES_BESIDE_COMMANDS_MAX, EXPIRIES_PER_ENTRY_MAX, INSTANCES_MAX, LIMITED_NAMESPACES_MAX, LOCK_DELAYS_MAX,
    LOSSES_MAX, REQUESTS_MAX,
};

/// Capacities of the tables that are constants of the build. Only tests use others than the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// See [`EXPIRIES_PER_ENTRY_MAX`].
    pub expiries_per_entry_max: usize,
    /// See [`EXPIRIES_BESIDE_COMMANDS_MAX`]. Above `expiries_per_entry_max` it means nothing.
    pub expiries_beside_commands_max: usize,
    /// See [`INSTANCES_MAX`].
    pub instances_max: usize,
    /// See [`REQUESTS_MAX`].
    pub requests_max: usize,
    /// See [`LOSSES_MAX`].
    pub losses_max: usize,
    /// See [`LIMITED_NAMESPACES_MAX`].
    pub limited_namespaces_max: usize,
    /// See [`LOCK_DELAYS_MAX`].
    pub lock_delays_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            expiries_per_entry_max: EXPIRIES_PER_ENTRY_MAX,
            expiries_beside_commands_max: EXPIRIES_BESIDE_COMMANDS_MAX,
            instances_max: INSTANCES_MAX,
            requests_max: REQUESTS_MAX,
            losses_max: LOSSES_MAX,
            limited_namespaces_max: LIMITED_NAMESPACES_MAX,
            lock_delays_max: LOCK_DELAYS_MAX,
        }
    }
}

impl Bounds {
    /// Due items that an entry removes, with so many commands.
    pub(super) fn expiries_max(&self, commands: usize) -> usize {
        match commands {
            0 => self.expiries_per_entry_max,
            _ => self.expiries_per_entry_max.min(self.expiries_beside_commands_max),
        }
    }
}
