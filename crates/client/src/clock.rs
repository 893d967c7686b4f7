//! Real time: the only module of the client that reads it.
//!
//! Deadlines of leases are counted on `CLOCK_BOOTTIME`, which goes on while the machine is suspended: a laptop that
//! wakes up must know that its lease has run out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where a [`Clock`] gets its time from. Tests and simulation bring their own.
pub trait TimeSource: Send + Sync + 'static {
    /// Time since an arbitrary, fixed origin; never goes back, counts suspend.
    fn boottime(&self) -> Duration;
}

/// Reads real time. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn TimeSource>);

impl Clock {
    /// The clock of the operating system.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(SystemTime))
    }

    /// Another source of time.
    #[must_use]
    pub fn new(source: Arc<dyn TimeSource>) -> Self {
        Self(source)
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment(self.0.boottime())
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// A point on a [`Clock`]. Means something only beside others of the same clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// This much later. Saturates.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// Time from `earlier` to this moment; zero if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

struct SystemTime;

impl TimeSource for SystemTime {
    fn boottime(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_clock_does_not_go_back() {
        let clock = Clock::system();
        let first = clock.now();
        assert!(clock.now() >= first);
        assert_eq!(first.since(first.after(Duration::from_secs(1))), Duration::ZERO);
        assert_eq!(first.after(Duration::from_secs(1)).since(first), Duration::from_secs(1));
    }
}
