//! The queue discipline: one compatibility function, one rule for who may go.
//!
//! A waiter may go when, in each of its queues, its mode is compatible with the holders and with all waiters ahead of
//! it counted as holding. So nobody overtakes, and requests for several locks cannot deadlock each other: every queue
//! is in log order.

use std::collections::BTreeMap;

use super::keys::WaiterId;
use super::tokens::Tokens;
use crate::Mode;

impl Mode {
    /// Whether holders in these two modes may hold one lock together.
    #[must_use]
    pub fn compatible(self, other: Self) -> bool {
        let mut load = Load::default();
        load.add(self);
        load.admits(other)
    }
}

/// What holders, and waiters counted as holding, take of one lock together. Counts by mode, so that it shrinks in
/// constant time when one of them goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    exclusive: u32,
}

impl Load {
    /// Whether one more in this mode may hold beside them: the one place that decides it. A waiter that is not
    /// admitted, counted as holding, admits nobody behind it.
    pub(super) fn admits(self, mode: Mode) -> bool {
        match mode {
            Mode::Exclusive => self.exclusive == 0,
        }
    }

    pub(super) fn add(&mut self, mode: Mode) {
        match mode {
            Mode::Exclusive => self.exclusive += 1,
        }
    }

    pub(super) fn remove(&mut self, mode: Mode) {
        match mode {
            Mode::Exclusive => self.exclusive -= 1,
        }
    }
}

/// A lock that has a holder or a waiter. All of it follows from grants and waiters.
#[derive(Debug, Default)]
pub(super) struct Lock {
    pub(super) holders: Tokens,
    /// What the holders take together.
    pub(super) load: Load,
    /// In queue order.
    queue: BTreeMap<WaiterId, Mode>,
}

impl Lock {
    pub(super) fn is_idle(&self) -> bool {
        self.holders.is_empty() && self.queue.is_empty()
    }

    pub(super) fn waiters(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn queue(&self) -> impl Iterator<Item = (WaiterId, Mode)> + '_ {
        self.queue.iter().map(|(waiter, mode)| (*waiter, *mode))
    }

    pub(super) fn enqueue(&mut self, waiter: WaiterId, mode: Mode) {
        self.queue.insert(waiter, mode);
    }

    pub(super) fn dequeue(&mut self, waiter: WaiterId) {
        self.queue.remove(&waiter);
    }

    /// Whether somebody who comes now may hold at once: nobody is overtaken.
    pub(super) fn admits_newcomer(&self, mode: Mode) -> bool {
        self.admits_behind(mode, |_| true)
    }

    /// Whether a waiter of this queue may hold now.
    pub(super) fn admits_waiter(&self, waiter: WaiterId, mode: Mode) -> bool {
        self.admits_behind(mode, |other| other < waiter)
    }

    fn admits_behind(&self, mode: Mode, ahead: impl Fn(WaiterId) -> bool) -> bool {
        let mut load = self.load;
        if !load.admits(mode) {
            return false;
        }
        for (_, other) in self.queue().take_while(|(other, _)| ahead(*other)) {
            load.add(other);
            if !load.admits(mode) {
                return false;
            }
        }
        true
    }

    /// The waiters that this lock does not hold back, in queue order.
    pub(super) fn admitted(&self) -> impl Iterator<Item = WaiterId> + '_ {
        let mut load = self.load;
        self.queue()
            .take_while(move |(_, mode)| {
                let admitted = load.admits(*mode);
                load.add(*mode);
                admitted
            })
            .map(|(waiter, _)| waiter)
    }
}
