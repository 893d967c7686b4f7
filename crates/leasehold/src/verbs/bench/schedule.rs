//! When a run warms up, measures and ends; shared by all of its connections.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use leasehold_client::clock::{Clock, Moment};

use super::record::Window;

/// Asked for an early end, by a signal.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(super) fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The times of one run.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    pub(super) clock: Clock,
    pub(super) window: Window,
    stop: Stop,
}

impl Schedule {
    /// A run that begins now: a warm-up, then what is measured.
    pub(super) fn begin(clock: &Clock, warm_up: Duration, length: Duration, stop: &Stop) -> Self {
        let from = clock.now().after(warm_up);
        Self { clock: clock.clone(), window: Window { from, until: from.after(length) }, stop: stop.clone() }
    }

    pub(super) fn is_ending(&self, now: Moment) -> bool {
        now >= self.window.until || self.is_stopped()
    }

    /// It ends before its time.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_asked()
    }
}

/// Waits for a moment, to about a millisecond.
pub(super) async fn sleep_until(clock: &Clock, moment: Moment) {
    tokio::time::sleep(moment.since(clock.now())).await;
}

/// The future's output, unless that takes longer.
pub(super) async fn within<T>(
    bound: Duration,
    what: &str,
    future: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    match tokio::time::timeout(bound, future).await {
        Ok(result) => result,
        Err(_) => Err(format!("{what}: not within {bound:?}")),
    }
}
