//! The queue discipline: one compatibility function, one rule for who may go.
//!
//! A waiter may go when, in each of its queues, its mode is compatible with the holders and with all waiters ahead of
//! it counted as holding. So nobody overtakes, and requests for several locks cannot deadlock each other: every queue
//! is in log order. An upgrade is ahead of them all, and its own shared grant does not count against it.

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

    /// The limit of permits that it names.
    pub(super) fn limit(self) -> Option<u32> {
        match self {
            Self::Permits { limit, .. } => Some(limit),
            Self::Exclusive | Self::Shared => None,
        }
    }
}

/// What holders, and waiters counted as holding, take of one lock together. Counts by mode, so that it shrinks in
/// constant time when one of them goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    exclusive: u32,
    shared: u32,
    /// Their sum.
    permits: u64,
}

impl Load {
    /// Whether one more in this mode may hold beside them: the one place that decides it. A waiter that is not
    /// admitted, counted as holding, admits nobody behind it whom it would keep out as a holder.
    pub(super) fn admits(self, mode: Mode) -> bool {
        match mode {
            Mode::Exclusive => self == Self::default(),
            Mode::Shared => self.exclusive == 0 && self.permits == 0,
            Mode::Permits { permits, limit } => {
                self.exclusive == 0 && self.shared == 0 && self.permits + u64::from(permits) <= u64::from(limit)
            }
        }
    }

    pub(super) fn add(&mut self, mode: Mode) {
        match mode {
            Mode::Exclusive => self.exclusive += 1,
            Mode::Shared => self.shared += 1,
            Mode::Permits { permits, .. } => self.permits += u64::from(permits),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            exclusive: self.exclusive + other.exclusive,
            shared: self.shared + other.shared,
            permits: self.permits + other.permits,
        }
    }

    pub(super) fn remove(&mut self, mode: Mode) {
        match mode {
            Mode::Exclusive => self.exclusive -= 1,
            Mode::Shared => self.shared -= 1,
            Mode::Permits { permits, .. } => self.permits -= u64::from(permits),
        }
    }
}

/// The limit of permits that holders and waiters of a lock agree on, as long as there are any.
#[derive(Debug, Clone, Copy, Default)]
struct Agreed {
    limit: u32,
    users: u32,
}

/// A lock that has a holder, a waiter or a lock-delay. All of it follows from grants, waiters and delays.
#[derive(Debug, Default)]
pub(super) struct Lock {
    pub(super) holders: Tokens,
    /// What the holders take together.
    pub(super) load: Load,
    agreed: Agreed,
    /// Admits nobody for now.
    pub(super) delayed: bool,
    /// Waits to turn its shared grant into the exclusive one, ahead of the queue.
    upgrade: Option<WaiterId>,
    /// In queue order.
    queue: BTreeMap<WaiterId, Mode>,
    /// What those in `queue` would take together.
    awaited: Load,
}

impl Lock {
    pub(super) fn is_idle(&self) -> bool {
        self.holders.is_empty() && self.waiters() == 0 && !self.delayed
    }

    pub(super) fn waiters(&self) -> usize {
        self.queue.len() + usize::from(self.upgrade.is_some())
    }

    /// In queue order.
    pub(super) fn queue(&self) -> impl Iterator<Item = (WaiterId, Mode)> + '_ {
        let upgrade = self.upgrade.map(|waiter| (waiter, Mode::Exclusive));
        upgrade.into_iter().chain(self.queue.iter().map(|(waiter, mode)| (*waiter, *mode)))
    }

    /// Those ahead of a waiter, in queue order.
    pub(super) fn ahead_of(&self, waiter: WaiterId) -> impl Iterator<Item = (WaiterId, Mode)> + '_ {
        let first = self.upgrade.filter(|upgrade| *upgrade != waiter).map(|upgrade| (upgrade, Mode::Exclusive));
        let is_upgrade = self.upgrade == Some(waiter);
        let queued = self.queue.range(..waiter).map(|(other, mode)| (*other, *mode));
        first.into_iter().chain(queued.filter(move |_| !is_upgrade))
    }

    pub(super) fn upgrade(&self) -> Option<WaiterId> {
        self.upgrade
    }

    pub(super) fn hold(&mut self, mode: Mode) {
        self.load.add(mode);
        self.agree(mode);
    }

    pub(super) fn let_go(&mut self, mode: Mode) {
        self.load.remove(mode);
        self.forget_agreed(mode);
    }

    pub(super) fn enqueue(&mut self, waiter: WaiterId, mode: Mode, upgrade: bool) {
        if upgrade {
            assert!(self.upgrade.is_none(), "one upgrade waits for a lock");
            self.upgrade = Some(waiter);
        } else {
            self.queue.insert(waiter, mode);
            self.awaited.add(mode);
            self.agree(mode);
        }
    }

    pub(super) fn dequeue(&mut self, waiter: WaiterId) {
        if self.upgrade == Some(waiter) {
            self.upgrade = None;
        } else if let Some(mode) = self.queue.remove(&waiter) {
            self.awaited.remove(mode);
            self.forget_agreed(mode);
        }
    }

    /// The limit that a request's mode contradicts.
    pub(super) fn conflicting_limit(&self, mode: Mode) -> Option<u32> {
        let asked = mode.limit()?;
        (self.agreed.users > 0 && self.agreed.limit != asked).then_some(self.agreed.limit)
    }

    fn agree(&mut self, mode: Mode) {
        if let Some(limit) = mode.limit() {
            self.agreed = Agreed { limit, users: self.agreed.users + 1 };
        }
    }

    fn forget_agreed(&mut self, mode: Mode) {
        if mode.limit().is_some() {
            self.agreed.users -= 1;
        }
    }

    /// Whether somebody who comes now may hold at once: nobody is overtaken.
    pub(super) fn admits_newcomer(&self, mode: Mode) -> bool {
        // More load never admits more, so the sum of all ahead says what going through them would.
        !self.delayed && self.upgrade.is_none() && self.load.plus(self.awaited).admits(mode)
    }

    /// Whether a waiter of this queue may hold now.
    pub(super) fn admits_waiter(&self, waiter: WaiterId, mode: Mode) -> bool {
        if self.upgrade == Some(waiter) {
            self.admits_upgrade()
        } else {
            self.admits_behind(mode, self.ahead_of(waiter))
        }
    }

    /// Whether one of the shared holders may be the exclusive one now.
    pub(super) fn admits_upgrade(&self) -> bool {
        let mut others = self.load;
        others.remove(Mode::Shared);
        !self.delayed && others.admits(Mode::Exclusive)
    }

    fn admits_behind(&self, mode: Mode, ahead: impl Iterator<Item = (WaiterId, Mode)>) -> bool {
        let mut load = self.load;
        if self.delayed || !load.admits(mode) {
            return false;
        }
        for (_, other) in ahead {
            load.add(other);
            if !load.admits(mode) {
                return false;
            }
        }
        true
    }

    /// The waiters that this lock does not hold back, in queue order.
    pub(super) fn admitted(&self) -> impl Iterator<Item = WaiterId> + '_ {
        let first = self.upgrade.filter(|_| self.admits_upgrade());
        let mut load = self.load;
        let mut open = !self.delayed && self.upgrade.is_none();
        let queued = self.queue.iter().take_while(move |(_, mode)| {
            open = open && load.admits(**mode);
            load.add(**mode);
            open
        });
        first.into_iter().chain(queued.map(|(waiter, _)| *waiter))
    }
}
