//! A client that competes with others for a few locks, and has everything recorded that it asks and hears.

use std::sync::Arc;
use std::time::Duration;

use leasehold_client::{CancellationToken, Observer};
use leasehold_proto::v1::acquire_response::Result as Acquired;
use leasehold_proto::v1::{self, answer::Answer, operation::Operation};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{sleep, timeout};

use super::Locker;
use crate::clock::Moment;

const AFTER_ERROR: Duration = Duration::from_millis(20);
/// A lease is renewed so many times in its life.
const RENEWALS_A_TTL: u32 = 6;

/// How a client competes. Where it does something in one case of so many, 0 is never.
#[derive(Debug, Clone)]
pub struct Habits {
    /// Locks that all compete for.
    pub names: u32,
    /// Time to live of all leases.
    pub ttl: Duration,
    /// The longest wait for a lock.
    pub wait: Duration,
    /// It is itself away while it waits, and does not keep alive what it asks under, in one wait of so many.
    pub away_one_in: u32,
    /// The longest time that it usually stays.
    pub stays: Duration,
    /// The longest time that it stays in one case of so many.
    pub stays_long: (Duration, u32),
    /// It neither renews nor releases, in one case of so many.
    pub forgets_one_in: u32,
}

/// One client at work.
#[derive(Debug)]
pub struct Competitor<L> {
    locker: L,
    worker: u32,
    habits: Habits,
    observer: Arc<dyn Observer>,
    random: StdRng,
    counter: u64,
}

/// What it was granted, and the words under which that is recorded.
struct Hold<H> {
    hold: H,
    name: String,
    lease: String,
    token: u64,
}

impl<L: Locker> Competitor<L> {
    /// Its choices follow from seed and number.
    #[must_use]
    pub fn new(locker: L, worker: u32, habits: Habits, seed: u64, observer: Arc<dyn Observer>) -> Self {
        let random = StdRng::seed_from_u64(seed ^ (u64::from(worker) << 32));
        Self { locker, worker, habits, observer, random, counter: 0 }
    }

    /// Until it is told to stop, wherever it is then: what it holds runs out.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.step() => {}
            }
        }
    }

    async fn step(&mut self) {
        let name = format!("contested-{}", self.random.random_range(0..self.habits.names.max(1)));
        match self.lock(name).await {
            Some(hold) => self.hold(hold).await,
            None => sleep(AFTER_ERROR).await,
        }
    }

    fn one_in(&mut self, cases: u32) -> bool {
        cases > 0 && self.random.random_ratio(1, cases)
    }

    async fn lock(&mut self, name: String) -> Option<Hold<L::Hold>> {
        let Habits { ttl, wait, away_one_in, .. } = self.habits;
        let attended = !self.one_in(away_one_in);
        self.counter += 1;
        let number = self.observer.sent(&Operation::Acquire(v1::AcquireRequest {
            locks: vec![v1::LockRequest { name: name.clone(), ..Default::default() }],
            ttl_ms: millis(ttl),
            wait_ms: Some(millis(wait)),
            request_id: Some(v1::RequestId { client: u64::from(self.worker), counter: self.counter }),
            attempt: 1,
            ..Default::default()
        }));
        let locked = self.locker.lock(&name, ttl, wait, attended).await;
        let lease = format!("{}-{}", self.worker, self.counter);
        let (answer, hold) = match locked {
            Ok(Some(hold)) => {
                let token = L::token(&hold);
                let grants = vec![v1::Grant { name: name.clone(), token, ..Default::default() }];
                let granted = v1::Granted { lease: lease.clone(), grants, ttl_ms: millis(ttl), ..Default::default() };
                (acquired(Acquired::Granted(granted)), Some(Hold { hold, name, lease, token }))
            }
            Ok(None) => (acquired(Acquired::WaitEnded(v1::WaitEnded::default())), None),
            Err(error) => (unknown(&error), None),
        };
        self.observer.answered(number, &answer);
        hold
    }

    async fn hold(&mut self, hold: Hold<L::Hold>) {
        let (from, ttl) = (Moment::now(), self.habits.ttl);
        // What it was told may be old by now.
        let Some(mut until) = self.renew(&hold, ttl).await else { return };
        let stays = if self.one_in(self.habits.stays_long.1) { self.habits.stays_long.0 } else { self.habits.stays };
        let stays = stays.mul_f64(self.random.random());
        let pause = ttl / RENEWALS_A_TTL;
        while from.elapsed() + pause < stays {
            sleep(pause).await;
            match self.renew(&hold, until.since(Moment::now())).await {
                Some(later) => until = until.max(later),
                None => break,
            }
        }
        sleep(stays.saturating_sub(from.elapsed()).min(pause)).await;
        if !self.one_in(self.habits.forgets_one_in) {
            self.unlock(hold).await;
        }
    }

    /// Until when it may count on the lock; None: it is lost, or there was no answer in time.
    async fn renew(&mut self, hold: &Hold<L::Hold>, within: Duration) -> Option<Moment> {
        let (sent, ttl_ms) = (Moment::now(), millis(self.habits.ttl));
        let lease = hold.lease.clone();
        let number = self.observer.sent(&Operation::Renew(v1::RenewRequest {
            leases: vec![v1::RenewLease { lease: lease.clone(), ttl_ms, ..Default::default() }],
            ..Default::default()
        }));
        match timeout(within, self.locker.renew(&hold.hold)).await {
            Ok(Ok(alive)) => {
                let renewed = v1::RenewedLease { lease, alive, ttl_ms, ..Default::default() };
                self.observer.answered(number, &Answer::Renew(v1::RenewResponse { leases: vec![renewed] }));
                alive.then(|| sent.plus_ms(ttl_ms))
            }
            Ok(Err(error)) => {
                self.observer.answered(number, &unknown(&error));
                None
            }
            Err(_) => None,
        }
    }

    async fn unlock(&mut self, hold: Hold<L::Hold>) {
        let Hold { hold, name, token, .. } = hold;
        let number = self.observer.sent(&Operation::Release(v1::ReleaseRequest { name, token, ..Default::default() }));
        // One whose release gets lost runs out by itself.
        let answer = match timeout(self.habits.ttl, self.locker.unlock(hold)).await {
            Ok(Ok(())) => Answer::Release(v1::ReleaseResponse { released: true, ..Default::default() }),
            Ok(Err(error)) => unknown(&error),
            Err(_) => return,
        };
        self.observer.answered(number, &answer);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn acquired(result: Acquired) -> Answer {
    Answer::Acquire(v1::AcquireResponse { result: Some(result) })
}

/// It may have happened.
fn unknown(error: &anyhow::Error) -> Answer {
    let message = format!("{error:#}");
    Answer::Error(v1::Error { code: tonic::Code::Unknown.into(), message, ..Default::default() })
}
