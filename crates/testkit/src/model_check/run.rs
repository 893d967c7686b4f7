//! One search of a world: the world, what was seen in it, and the machines that were reached.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::coverage::Coverage;
use super::tables::Tables;
use super::world::World;

const SHARDS: usize = 64;

/// What every step of a search needs.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) world: World,
    pub(super) coverage: Coverage,
    machines: Machines,
}

impl Run {
    pub(super) fn new(world: World) -> Self {
        Self { world, coverage: Coverage::default(), machines: Machines::default() }
    }

    /// The tables as they are known already, or these. Many states differ in nothing but their clients: what an entry does
    /// to their machine is computed once.
    pub(super) fn known(&self, tables: Tables) -> Arc<Tables> {
        self.machines.known(tables)
    }
}

/// Tables that some state has, by their identity.
#[derive(Debug)]
struct Machines([Mutex<Shard>; SHARDS]);

#[derive(Debug, Default)]
struct Shard {
    tables: HashMap<u128, Weak<Tables>>,
    purge_at: usize,
}

impl Default for Machines {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Machines {
    fn known(&self, tables: Tables) -> Arc<Tables> {
        let mut shard = locked(&self.0[tables.identity as usize % SHARDS]);
        if let Some(known) = shard.tables.get(&tables.identity).and_then(Weak::upgrade) {
            return known;
        }
        if shard.tables.len() >= shard.purge_at {
            shard.tables.retain(|_, tables| tables.strong_count() > 0);
            shard.purge_at = 1024.max(2 * shard.tables.len());
        }
        let tables = Arc::new(tables);
        shard.tables.insert(tables.identity, Arc::downgrade(&tables));
        tables
    }
}

/// A panic elsewhere leaves these maps whole.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
