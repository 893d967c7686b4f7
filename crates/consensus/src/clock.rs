//! Real time: the only module of a server process that reads it.

mod steered;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Where a [`Clock`] gets its time from. Tests and simulation bring their own.
pub trait TimeSource: Send + Sync + 'static {
    /// Time since an arbitrary, fixed origin; never goes back, does not count suspend.
    fn monotonic(&self) -> Duration;
    /// Time since 1970-01-01 UTC. Read only to found a cluster, never for a decision about leases.
    fn unix(&self) -> Duration;
}

/// Reads real time. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn TimeSource>);

impl Clock {
    /// The clocks of the operating system.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(SystemTime))
    }

    /// The clocks of the operating system, faster, slower or apart, as a file says: for tests of what clocks may do. One line,
    /// `RATE_PPM WALL_OFFSET_S`: whole numbers within bounds, looked at many times a second. Fails where it says
    /// something else from the start.
    pub fn steered(file: &Path) -> std::io::Result<Self> {
        steered::SteeredTime::follow(file).map(|source| Self(source))
    }

    /// Another source of time.
    #[must_use]
    pub fn new(source: Arc<dyn TimeSource>) -> Self {
        Self(source)
    }

    /// Time since an arbitrary, fixed origin; never goes back.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    /// Time since 1970-01-01 UTC.
    #[must_use]
    pub fn unix(&self) -> Duration {
        self.0.unix()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// The moment `duration` from now on the runtime's clock, for deadlines of calls and timers (never for leases).
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn deadline_after(duration: Duration) -> Instant {
    Instant::now() + duration
}

/// How long it is until `deadline`; zero when it has passed.
#[must_use]
pub fn time_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(deadline_after(Duration::ZERO))
}

struct SystemTime;

impl TimeSource for SystemTime {
    fn monotonic(&self) -> Duration {
        read(rustix::time::ClockId::Monotonic)
    }

    fn unix(&self) -> Duration {
        read(rustix::time::ClockId::Realtime)
    }
}

fn read(clock: rustix::time::ClockId) -> Duration {
    let now = rustix::time::clock_gettime(clock);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}
