//! Real time: the only module of the test kit that reads it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on the machine's one clock that every process of a run shares (CLOCK_BOOTTIME), in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// Now; in a simulation, its own time.
    #[must_use]
    pub fn now() -> Self {
        if leasehold_platform::simulation::is_running() {
            return Self(u64::try_from(crate::sim::elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Self(now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs())
    }

    /// `self` + `ms` milliseconds.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000_000)))
    }

    /// From `earlier` until `self`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The time of day (UTC) that the wall clock showed at this moment, if nobody has set it since, in microseconds: what logs show.
    #[must_use]
    pub fn time_of_day_us(self) -> u64 {
        let ago = u64::try_from(self.elapsed().as_micros()).unwrap_or(u64::MAX);
        let wall = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let now = wall.tv_sec.unsigned_abs() * 1_000_000 + wall.tv_nsec.unsigned_abs() / 1_000;
        now.saturating_sub(ago) % (24 * 3600 * 1_000_000)
    }

    /// From this moment until now.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Self::now().since(self)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06} s", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
    }
}

/// A seed for a run that names none.
#[must_use]
pub fn random_seed() -> u64 {
    let unix = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    unix.tv_nsec.unsigned_abs() ^ (unix.tv_sec.unsigned_abs() << 20) ^ (u64::from(std::process::id()) << 32)
}
