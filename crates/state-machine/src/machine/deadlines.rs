//! The index of everything that can expire, in the order in which it does.

use std::collections::BTreeSet;

use super::keys::WaiterId;
use crate::{LeaseId, LogTime, RequestId};

/// What expires. Ordered after the deadline by kind, then by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    /// High and low half of a lease id: keeps the alignment, and so the index, small.
    Lease(u64, u64),
    Waiter(WaiterId),
    Request(RequestId),
    Instance(u64),
    /// Number of a lock-delay: they are numbered as they begin.
    Delay(u64),
}

impl Item {
    pub(super) fn lease(id: LeaseId) -> Self {
        Self::Lease((id.0 >> 64) as u64, id.0 as u64)
    }
}

#[derive(Debug, Default)]
pub(super) struct Deadlines(BTreeSet<(LogTime, Item)>);

impl Deadlines {
    pub(super) fn insert(&mut self, deadline: LogTime, item: Item) {
        let new = self.0.insert((deadline, item));
        assert!(new, "{item:?} has one deadline");
    }

    pub(super) fn remove(&mut self, deadline: LogTime, item: Item) {
        let known = self.0.remove(&(deadline, item));
        assert!(known, "{item:?} has a deadline at {deadline}");
    }

    /// Moves an item's deadline; None: it has none.
    pub(super) fn replace(&mut self, before: Option<LogTime>, after: Option<LogTime>, item: Item) {
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.remove(before, item);
        }
        if let Some(after) = after {
            self.insert(after, item);
        }
    }

    pub(super) fn earliest(&self) -> Option<LogTime> {
        self.0.first().map(|(deadline, _)| *deadline)
    }

    /// The first item that is no longer alive at `now`.
    pub(super) fn first_due(&self, now: LogTime) -> Option<Item> {
        self.0.first().filter(|(deadline, _)| *deadline < now).map(|(_, item)| *item)
    }
}
