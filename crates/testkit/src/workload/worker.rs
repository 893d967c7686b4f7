//! One client at work.

use std::time::Duration;

use leasehold_client::{CancellationToken, Client, Exclusive, Guard, LockBuilder, OwnLease, TryAcquire, Wait};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{sleep, timeout};

use super::WorkloadOptions;
use crate::clock::Moment;
use crate::history::{Call, Record, Recorder, Response};

/// After an error there is no point in asking again at once.
const AFTER_ERROR: Duration = Duration::from_millis(50);

pub(super) struct Worker {
    number: u32,
    client: Client,
    options: WorkloadOptions,
    recorder: Recorder,
    random: StdRng,
}

impl Worker {
    pub(super) fn new(number: u32, client: Client, options: &WorkloadOptions, recorder: Recorder) -> Self {
        let random = StdRng::seed_from_u64(options.seed ^ (u64::from(number) << 48));
        Self { number, client, options: options.clone(), recorder, random }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let name = format!("lock-{}", self.random.random_range(0..self.options.locks));
            let choice = self.random.random_range(0..100);
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.step(&name, choice) => {}
            }
        }
    }

    async fn step(&mut self, name: &str, choice: u32) {
        let ttl_ms = self.random.random_range(self.options.ttl_ms.0..=self.options.ttl_ms.1);
        let lock = self.client.lock(name).own_lease().ttl(Duration::from_millis(ttl_ms));
        let wait = Duration::from_millis(self.random.random_range(200..4_000));
        match choice {
            // Try, and look.
            0..25 => match lock.try_acquire().await {
                Ok(TryAcquire::Acquired(guard)) => self.hold(guard, ttl_ms).await,
                Ok(TryAcquire::Held(_)) => self.look(name).await,
                Err(_) => sleep(AFTER_ERROR).await,
            },
            // Wait.
            25..80 => match lock.acquire_timeout(wait).await {
                Ok(Some(guard)) => self.hold(guard, ttl_ms).await,
                Ok(None) => {}
                Err(_) => sleep(AFTER_ERROR).await,
            },
            // Wait, and lose patience: the future is dropped, the client cancels.
            80..90 => self.lose_patience(lock, ttl_ms).await,
            // Take it and walk away: the lease has to run out.
            90..95 => {
                let _ = lock.acquire_raw(Wait::For(wait)).await;
            }
            _ => self.look(name).await,
        }
    }

    async fn lose_patience(&mut self, lock: LockBuilder<Exclusive, OwnLease>, ttl_ms: u64) {
        let patience = Duration::from_millis(self.random.random_range(1..300));
        if let Ok(Ok(guard)) = timeout(patience, lock.acquire()).await {
            self.hold(guard, ttl_ms).await;
        }
    }

    async fn look(&self, name: &str) {
        if self.client.get(name).await.is_err() {
            sleep(AFTER_ERROR).await;
        }
    }

    /// Holds for a while, sometimes for longer than the ttl, then lets go in one of several ways.
    async fn hold(&mut self, guard: Guard, ttl_ms: u64) {
        let longest = if self.random.random_ratio(1, 10) { ttl_ms * 3 / 2 } else { 60 };
        sleep(Duration::from_millis(self.random.random_range(0..longest))).await;
        // The moment before the look: what the guard says of later is true of it too.
        let moment = Moment::now();
        if guard.is_held() {
            self.believed(&guard, moment);
        }
        match self.random.random_range(0..10) {
            0..8 => {
                if guard.release().await.is_err() {
                    sleep(AFTER_ERROR).await;
                }
            }
            _ => drop(guard),
        }
    }

    fn believed(&self, guard: &Guard, moment: Moment) {
        self.recorder.push(Record {
            worker: self.number,
            lock: format!("default/{}", guard.name()).into(),
            invoke: moment,
            first_send: None,
            complete: Some(moment),
            call: Call::Believe { token: guard.token().0 },
            response: Response::Held,
        });
    }
}
