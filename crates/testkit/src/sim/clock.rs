//! Time in a simulation: one true time, and clocks of hosts that run fast or slow beside it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use leasehold_client::clock as client;
use leasehold_consensus::clock as node;

thread_local! {
    static LAST: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Unix time at which every simulation begins.
const EPOCH: Duration = Duration::from_secs(1_800_000_000);

/// True time since the simulation of this thread began.
pub(crate) fn elapsed() -> Duration {
    let now = turmoil::sim_elapsed().unwrap_or_default().max(LAST.get());
    LAST.set(now);
    now
}

/// Time begins, or has come so far without anybody looking.
pub(super) fn set(now: Duration) {
    LAST.set(now);
}

/// A clock of one host.
#[derive(Debug, Clone, Copy)]
pub(super) struct HostClock {
    /// What it showed when the simulation began.
    pub(super) offset: Duration,
    /// How much faster it runs than true time, in parts per million.
    pub(super) fast_ppm: i32,
}

impl HostClock {
    fn now(self) -> Duration {
        self.offset + elapsed().mul_f64(1.0 + f64::from(self.fast_ppm) / 1e6)
    }

    pub(super) fn of_node(self) -> node::Clock {
        node::Clock::new(Arc::new(self))
    }

    pub(super) fn of_client(self) -> client::Clock {
        client::Clock::new(Arc::new(self))
    }
}

impl node::TimeSource for HostClock {
    fn monotonic(&self) -> Duration {
        self.now()
    }

    fn unix(&self) -> Duration {
        EPOCH + self.now()
    }
}

impl client::TimeSource for HostClock {
    fn boottime(&self) -> Duration {
        self.now()
    }
}
