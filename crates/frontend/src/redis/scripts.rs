//! The scripts that clients call by their SHA-1. A client sends the body again when it is told NOSCRIPT, so any may be forgotten.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use leasehold_redis::{Refused, Script, Sha1, sha1};
use parking_lot::Mutex;

/// Scripts of one node that are understood, within bounds. Those that were not used for the longest time go first.
pub(super) struct Scripts {
    max: usize,
    bytes_max: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    scripts: HashMap<Sha1, Kept>,
    /// By when they were last used: a count of uses.
    by_use: BTreeMap<u64, Sha1>,
    uses: u64,
    bytes: usize,
}

struct Kept {
    script: Arc<Script>,
    bytes: usize,
    used: u64,
}

impl Scripts {
    pub(super) fn new(max: usize, bytes_max: usize) -> Self {
        Self { max, bytes_max, table: Mutex::default() }
    }

    /// A script that was sent before and is not forgotten.
    pub(super) fn get(&self, name: Sha1) -> Option<Arc<Script>> {
        self.table.lock().get(name)
    }

    /// Whether it is there; that is no use of it.
    pub(super) fn has(&self, name: Sha1) -> bool {
        self.table.lock().scripts.contains_key(&name)
    }

    /// Understands a body, and remembers it.
    pub(super) fn load(&self, body: &[u8]) -> Result<(Sha1, Arc<Script>), Refused> {
        let name = sha1(body);
        if let Some(script) = self.get(name) {
            return Ok((name, script));
        }
        let script = Arc::new(Script::parse(body)?);
        self.table.lock().insert(name, Arc::clone(&script), body.len(), (self.max, self.bytes_max));
        Ok((name, script))
    }

    /// Forgets all.
    pub(super) fn flush(&self) {
        *self.table.lock() = Table::default();
    }

    pub(super) fn len(&self) -> usize {
        self.table.lock().scripts.len()
    }
}

impl Table {
    fn get(&mut self, name: Sha1) -> Option<Arc<Script>> {
        let kept = self.scripts.get_mut(&name)?;
        self.uses += 1;
        self.by_use.remove(&kept.used);
        self.by_use.insert(self.uses, name);
        kept.used = self.uses;
        Some(Arc::clone(&kept.script))
    }

    fn insert(&mut self, name: Sha1, script: Arc<Script>, bytes: usize, (max, bytes_max): (usize, usize)) {
        if self.get(name).is_some() || bytes > bytes_max {
            return;
        }
        while (self.scripts.len() >= max || self.bytes + bytes > bytes_max)
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.bytes -= self.scripts.remove(&oldest).map_or(0, |kept| kept.bytes);
        }
        self.uses += 1;
        self.by_use.insert(self.uses, name);
        self.scripts.insert(name, Kept { script, bytes, used: self.uses });
        self.bytes += bytes;
    }
}
