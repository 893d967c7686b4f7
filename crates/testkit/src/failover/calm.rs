//! Counts elections that nobody caused, while the machine is busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::Target;
use super::load::Load;
use crate::clock::Moment;
use crate::processors::Ticks;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What was seen.
#[derive(Debug)]
pub struct Calm {
    lasted: Duration,
    elections: u64,
    grants: u64,
    failures: u64,
    /// Share of the cores' time in which they had work, of whomever.
    busy: f64,
}

impl Calm {
    /// For a person.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { lasted, elections, grants, failures, busy } = self;
        let busy = 100.0 * busy;
        format!(
            "  {elections} elections in {lasted:.0?} without a fault, cores busy for {busy:.0} % of it; {grants} grants, {failures} attempts \
             failed\n"
        )
    }

    /// For a program.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        json!({
            "seconds": self.lasted.as_secs(), "elections": self.elections, "grants": self.grants,
            "failed_attempts": self.failures, "cores_busy": self.busy,
        })
    }
}

/// Lets so many clients work for so long, beside so many threads that only burn time.
pub async fn watch<T: Target>(target: &mut T, lasts: Duration, clients: usize, burners: usize) -> Result<Calm> {
    let stop = Arc::new(AtomicBool::new(false));
    let burning: Vec<_> = (0..burners).map(|_| burn(stop.clone())).collect();
    let load = Load::start(target, clients).await?;
    let first = target.term().await?;
    let (begin, before) = (Moment::now(), Ticks::now()?);
    let mut grants = 0;
    while begin.elapsed() < lasts {
        tokio::time::sleep(LOOK_EVERY).await;
        grants += load.take().iter().map(|grants| grants.len().saturating_sub(1) as u64).sum::<u64>();
    }
    let (lasted, busy) = (begin.elapsed(), Ticks::now()?.busy_since(before));
    let elections = target.term().await? - first;
    let failures = load.failures();
    stop.store(true, Ordering::Relaxed);
    load.finish().await;
    for thread in burning {
        let _ended = thread.join();
    }
    Ok(Calm { lasted, elections, grants, failures, busy })
}

fn burn(stop: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    })
}
