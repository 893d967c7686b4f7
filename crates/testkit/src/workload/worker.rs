//! One client at work.

use std::sync::Arc;
use std::time::Duration;

use leasehold_client::{
    Actor, CancellationToken, Client, Error, Guard, LockSpec, MultiGuard, Shared, TryAcquire, Wait,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{sleep, timeout};

use super::WorkloadOptions;
use crate::clock::Moment;
use crate::history::{Call, Record, Response, Sink};

/// After an error there is no point in asking again at once.
const AFTER_ERROR: Duration = Duration::from_millis(50);
/// Permits of every pool.
const PERMITS: u32 = 3;

pub(super) struct Worker {
    number: u32,
    client: Client,
    options: WorkloadOptions,
    sink: Arc<dyn Sink>,
    random: StdRng,
    actor: Actor,
}

impl Worker {
    pub(super) fn new(number: u32, client: Client, options: &WorkloadOptions, sink: Arc<dyn Sink>) -> Self {
        let random = StdRng::seed_from_u64(options.seed ^ (u64::from(number) << 48));
        let actor = client.actor(format!("task-{number}"));
        Self { number, client, options: options.clone(), sink, random, actor }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let choice = self.random.random_range(0..100);
            tokio::select! {
                () = stop.cancelled() => {}
                done = self.step(choice) => if done.is_err() { sleep(AFTER_ERROR).await },
            }
        }
    }

    fn name(&mut self) -> String {
        format!("lock-{}", self.random.random_range(0..self.options.locks))
    }

    fn two_names(&mut self) -> (String, String) {
        let first = self.random.random_range(0..self.options.locks);
        let step = self.random.random_range(1..self.options.locks.max(2));
        (format!("lock-{first}"), format!("lock-{}", (first + step) % self.options.locks.max(2)))
    }

    fn ttl(&mut self) -> Duration {
        Duration::from_millis(self.random.random_range(self.options.ttl_ms.0..=self.options.ttl_ms.1))
    }

    fn wait(&mut self) -> Duration {
        Duration::from_millis(self.random.random_range(200..4_000))
    }

    async fn step(&mut self, choice: u32) -> Result<(), Error> {
        match choice {
            0..30 => self.with_a_lease_of_its_own(choice).await,
            30..45 => self.exclusive().await,
            45..58 => self.shared().await,
            58..68 => self.permits().await,
            68..80 => self.several().await,
            80..87 => self.one_after_another().await,
            87..91 => self.force().await,
            91..94 => self.own_session().await,
            _ => {
                let name = self.name();
                self.client.get(&name).await.map(drop)
            }
        }
    }

    /// Tries, waits, loses patience, or walks away, without a session.
    async fn with_a_lease_of_its_own(&mut self, choice: u32) -> Result<(), Error> {
        let (name, ttl, wait) = (self.name(), self.ttl(), self.wait());
        let mut lock = self.client.lock(&name).own_lease().ttl(ttl);
        if self.random.random_ratio(1, 4) {
            lock = lock.lock_delay(Duration::from_millis(self.random.random_range(100..1_500)));
        }
        match choice {
            0..8 => match lock.try_acquire().await? {
                TryAcquire::Acquired(guard) => self.hold_alone(guard, ttl).await,
                TryAcquire::Held(_) => self.client.get(&name).await.map(drop),
            },
            8..20 => match lock.acquire_timeout(wait).await? {
                Some(guard) => self.hold_alone(guard, ttl).await,
                None => Ok(()),
            },
            // The future is dropped, the client cancels.
            20..26 => {
                let patience = Duration::from_millis(self.random.random_range(1..300));
                match timeout(patience, lock.acquire()).await {
                    Ok(guard) => self.hold(guard?, ttl).await,
                    Err(_) => Ok(()),
                }
            }
            // The lease has to run out.
            _ => lock.acquire_raw(Wait::For(wait)).await.map(drop),
        }
    }

    async fn exclusive(&mut self) -> Result<(), Error> {
        let (name, wait) = (self.name(), self.wait());
        let lock = self.client.lock(name);
        if self.random.random_ratio(1, 4) {
            let patience = Duration::from_millis(self.random.random_range(1..300));
            return match timeout(patience, lock.acquire()).await {
                Ok(guard) => self.hold(guard?, self.options.session_ttl).await,
                Err(_) => Ok(()),
            };
        }
        let Some(guard) = lock.acquire_timeout(wait).await? else { return Ok(()) };
        if self.random.random_ratio(1, 3) {
            // A proclamation, and everybody may read on.
            guard.set_value(0, format!("by {}", self.number)).await?;
            return match guard.downgrade().await {
                Ok(guard) => self.hold(guard, self.options.session_ttl).await,
                Err(not) => Err(not.error),
            };
        }
        self.hold_alone(guard, self.options.session_ttl).await
    }

    /// Shares, and sometimes wants to be alone then.
    async fn shared(&mut self) -> Result<(), Error> {
        let (name, wait) = (self.name(), self.wait());
        let Some(guard) = self.client.lock(name).shared().acquire_timeout(wait).await? else { return Ok(()) };
        match self.random.random_range(0..4) {
            0 => self.upgrade(guard).await,
            _ => self.hold(guard, self.options.session_ttl).await,
        }
    }

    async fn upgrade(&mut self, guard: Guard<Shared>) -> Result<(), Error> {
        let ttl = self.options.session_ttl;
        if self.random.random_ratio(1, 3) {
            // Loses patience: it still shares then, if it was not lost.
            let mut upgrade = guard.begin_upgrade();
            let patience = Duration::from_millis(self.random.random_range(1..200));
            let attempt = timeout(patience, upgrade.attempt(Wait::Forever)).await;
            return match attempt {
                Ok(Ok(guard)) => self.hold(guard, ttl).await,
                Ok(Err(_)) | Err(_) => match upgrade.give_up().await {
                    Some(guard) => self.hold(guard, ttl).await,
                    None => Ok(()),
                },
            };
        }
        match guard.upgrade_timeout(self.wait()).await {
            Ok(guard) => self.hold(guard, ttl).await,
            Err(not) => self.hold(not.guard, ttl).await,
        }
    }

    async fn permits(&mut self) -> Result<(), Error> {
        let (pool, wait) = (format!("pool-{}", self.random.random_range(0..2)), self.wait());
        let permits = self.random.random_range(1..=PERMITS);
        match self.client.lock(pool).permits(permits, PERMITS).acquire_timeout(wait).await? {
            Some(guard) => self.hold(guard, self.options.session_ttl).await,
            None => Ok(()),
        }
    }

    /// Two locks at once, in mixed modes.
    async fn several(&mut self) -> Result<(), Error> {
        let (first, second) = self.two_names();
        let wait = self.wait();
        let spec = |shared, name| if shared { LockSpec::shared(name) } else { LockSpec::exclusive(name) };
        let locks = [spec(self.random.random(), first), spec(self.random.random(), second)];
        let guard = if self.random.random_ratio(1, 3) {
            let ttl = self.ttl();
            self.client.locks(locks).own_lease().ttl(ttl).acquire_timeout(wait).await?
        } else {
            self.client.locks(locks).acquire_timeout(wait).await?
        };
        match guard {
            Some(guard) => self.hold_several(guard).await,
            None => Ok(()),
        }
    }

    /// Holds one lock and asks for another one: what deadlocks are made of. It names its actor, so it is told.
    async fn one_after_another(&mut self) -> Result<(), Error> {
        // Of the same two locks, so that they meet.
        let (first, second) = if self.random.random() { ("lock-0", "lock-1") } else { ("lock-1", "lock-0") };
        let (wait, longer) = (self.wait(), self.wait());
        let first = self.client.lock(first).actor(&self.actor).acquire_timeout(wait).await?;
        let Some(first) = first else { return Ok(()) };
        match self.client.lock(second).actor(&self.actor).acquire_timeout(longer).await {
            Ok(Some(second)) => self.hold(second, self.options.session_ttl).await?,
            Ok(None) | Err(Error::Deadlock(_)) => {}
            Err(error) => return Err(error),
        }
        self.hold(first, self.options.session_ttl).await
    }

    /// Ends somebody's grant.
    async fn force(&mut self) -> Result<(), Error> {
        let name = self.name();
        let lock = self.client.get(&name).await?;
        match lock.holders.first() {
            Some(holder) => {
                let token = leasehold_client::Token(holder.token);
                self.client.force_release(&name, token, "the workload says so").await.map(drop)
            }
            None => Ok(()),
        }
    }

    /// A session for two locks, closed with both held, or with the second one awaited.
    async fn own_session(&mut self) -> Result<(), Error> {
        let (first, second) = self.two_names();
        let (wait, longer) = (self.wait(), self.wait());
        let session = self.client.session().ttl(self.options.session_ttl).open().await?;
        if let Some(first) = session.lock(first).acquire_timeout(wait).await? {
            let second = session.lock(second).shared().acquire_timeout(longer).await?;
            self.believe(&first);
            drop(second);
        }
        session.close().await.map(drop)
    }

    /// Holds for a while, sometimes for longer than the ttl, then lets go in one of several ways.
    async fn hold<M>(&mut self, guard: Guard<M>, ttl: Duration) -> Result<(), Error> {
        self.stay(ttl).await;
        self.believe(&guard);
        self.let_go(guard).await
    }

    /// The same, and changes what lies outside meanwhile. It does not ask whether it still holds the lock when it writes: it may be
    /// away between the look and the write all the same.
    async fn hold_alone(&mut self, guard: Guard, ttl: Duration) -> Result<(), Error> {
        let outside = self.options.outside.clone();
        let read = outside.as_ref().map(|outside| outside.read(self.number, guard.name(), guard.token().0));
        self.stay(ttl).await;
        self.believe(&guard);
        if let Some((outside, read)) = outside.zip(read) {
            outside.write(guard.name(), guard.token().0, read);
        }
        self.let_go(guard).await
    }

    async fn stay(&mut self, ttl: Duration) {
        let longest = if self.random.random_ratio(1, 10) { ttl * 3 / 2 } else { Duration::from_millis(60) };
        sleep(longest.mul_f64(self.random.random())).await;
    }

    async fn let_go<M>(&mut self, guard: Guard<M>) -> Result<(), Error> {
        match self.random.random_range(0..10) {
            0..8 => guard.release().await.map(drop),
            _ => {
                drop(guard);
                Ok(())
            }
        }
    }

    async fn hold_several(&mut self, guard: MultiGuard) -> Result<(), Error> {
        sleep(Duration::from_millis(self.random.random_range(0..60))).await;
        let moment = Moment::now();
        if guard.is_held() {
            for grant in guard.grants() {
                self.believed(&grant.name, grant.token.0, moment);
            }
        }
        guard.release().await.map(drop)
    }

    fn believe<M>(&self, guard: &Guard<M>) {
        // The moment before the look: what the guard says of later is true of it too.
        let moment = Moment::now();
        if guard.is_held() {
            self.believed(guard.name(), guard.token().0, moment);
        }
    }

    fn believed(&self, name: &str, token: u64, moment: Moment) {
        self.sink.push(Record {
            worker: self.number,
            lock: format!("default/{name}").into(),
            invoke: moment,
            first_send: None,
            complete: Some(moment),
            call: Call::Believe { token },
            response: Response::Held,
        });
    }
}
