//! Keeps the leases and sessions of a client alive, and notices when one is lost.
//!
//! One task sleeps until the next renewal is due and sends all due ones in one message. Between two looks at the clock
//! lie at most 100 ms, because timers do not count suspend while leases do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use leasehold_proto::v1::{self, answer::Answer, operation::Operation};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::backoff::jitter;
use crate::call::millis;
use crate::clock::{Clock, Moment};
use crate::endpoints::Endpoints;
use crate::held_lease::HeldLease;
use crate::inner::renewal_of;
use crate::loss::Loss;
use crate::options::ClientOptions;
use crate::runtime::{Spawner, sleep, within};

/// The longest that the keeper trusts a timer.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Renewals due this soon travel with the ones due now.
const GATHER: Duration = Duration::from_millis(20);
/// Renewals in one message.
const RENEWALS_PER_MESSAGE: usize = 1_000;
/// A renewal unanswered for so long is sent again elsewhere; sooner for a short lease.
const RESEND_MAX: Duration = Duration::from_secs(1);
/// Before a refused renewal is sent again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// All leases that this client keeps alive.
#[derive(Debug)]
pub(crate) struct Keeper {
    clock: Clock,
    endpoints: Arc<Endpoints>,
    drift: ClientOptions,
    table: Mutex<Table>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    last_key: u64,
    entries: BTreeMap<u64, Entry>,
    /// When to look at which: its next renewal or its deadline, whichever comes first.
    agenda: BTreeSet<(Moment, u64)>,
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    lease: Arc<HeldLease>,
    renew_at: Moment,
    wake_at: Moment,
}

impl Table {
    fn schedule(&mut self, key: u64, renew_at: Moment) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        self.agenda.remove(&(entry.wake_at, key));
        entry.renew_at = renew_at;
        entry.wake_at = renew_at.min(entry.lease.deadline());
        self.agenda.insert((entry.wake_at, key));
    }

    fn remove(&mut self, key: u64) {
        if let Some(entry) = self.entries.remove(&key) {
            self.agenda.remove(&(entry.wake_at, key));
        }
    }
}

impl Keeper {
    /// Starts the task; it ends with `stop`, and then every lease counts as lost.
    pub(crate) fn start(
        options: &ClientOptions,
        endpoints: Arc<Endpoints>,
        spawner: &Spawner,
        stop: &CancellationToken,
    ) -> Arc<Self> {
        let keeper = Arc::new(Self {
            clock: options.clock.clone(),
            endpoints,
            drift: options.clone(),
            table: Mutex::default(),
            changed: Notify::new(),
        });
        spawner.spawn(keep(keeper.clone(), spawner.clone(), stop.clone()));
        keeper
    }

    /// Renews `lease` from now on. The key ends that, in [`Keeper::forget`].
    pub(crate) fn keep(&self, lease: Arc<HeldLease>) -> u64 {
        let mut table = self.table.lock();
        if table.closed {
            lease.lose(Loss::Closed);
        }
        table.last_key += 1;
        let key = table.last_key;
        let renew_at = self.clock.now().after(lease.ttl / 3);
        let wake_at = renew_at.min(lease.deadline());
        table.entries.insert(key, Entry { lease, renew_at, wake_at });
        table.agenda.insert((wake_at, key));
        drop(table);
        self.changed.notify_one();
        key
    }

    pub(crate) fn forget(&self, key: u64) {
        self.table.lock().remove(key);
    }

    /// How long nothing needs a look.
    fn idle_for(&self) -> Option<Duration> {
        let first = self.table.lock().agenda.first().copied();
        first.map(|(at, _)| at.since(self.clock.now()))
    }

    /// Ends what has expired; takes what is to be renewed now.
    fn take_due(&self) -> Vec<(u64, Arc<HeldLease>)> {
        let now = self.clock.now();
        let horizon = now.after(GATHER);
        let mut due = Vec::new();
        let mut table = self.table.lock();
        let soon: Vec<u64> = table.agenda.iter().take_while(|(at, _)| *at <= horizon).map(|(_, key)| *key).collect();
        for key in soon {
            let Some(entry) = table.entries.get(&key) else { continue };
            if !entry.lease.is_held(&self.clock) {
                table.remove(key);
            } else if entry.renew_at <= horizon {
                let lease = entry.lease.clone();
                let again_at = now.after(resend_after(lease.ttl));
                table.schedule(key, again_at);
                due.push((key, lease));
            }
        }
        due
    }

    /// Sends one message of renewals and takes in its answer.
    async fn renew(&self, batch: Vec<(u64, Arc<HeldLease>)>) {
        let shortest = batch.iter().map(|(_, lease)| lease.ttl).min().unwrap_or_default();
        let longest = batch.iter().map(|(_, lease)| lease.ttl).max().unwrap_or_default();
        let Some(stream) = self.endpoints.pick(None) else {
            return self.soon_again(&batch);
        };
        let leases = batch.iter().map(|(_, held)| renewal_of(&held.lease, 0)).collect();
        let sent = self.clock.now();
        let mut call = std::pin::pin!(
            stream.call(Operation::Renew(v1::RenewRequest { leases, all_or_nothing: false }), millis(longest))
        );
        let answer = match within(resend_after(shortest), &mut call).await {
            Some(answer) => answer,
            None => {
                // The agenda sends it again, elsewhere; this answer is welcome all the same.
                self.endpoints.demote(stream.endpoint);
                match within(longest, call).await {
                    Some(answer) => answer,
                    None => return,
                }
            }
        };
        match answer {
            Ok(Answer::Renew(renewed)) if renewed.leases.len() == batch.len() => {
                self.renewed(&batch, sent, &renewed.leases);
            }
            Ok(other) => {
                tracing::debug!(answer = ?other, "renewals were refused");
                self.endpoints.demote(stream.endpoint);
                self.soon_again(&batch);
            }
            Err(_) => self.soon_again(&batch),
        }
    }

    fn renewed(&self, batch: &[(u64, Arc<HeldLease>)], sent: Moment, answers: &[v1::RenewedLease]) {
        let mut table = self.table.lock();
        for ((key, lease), answer) in batch.iter().zip(answers) {
            if let Some(error) = &answer.error {
                // The lease is as it was; the agenda has its next renewal already.
                tracing::debug!(lease = %lease.lease, error = error.message, "a renewal was refused");
            } else if answer.alive {
                lease.forced(answer.forced);
                lease.extend(sent.after(self.drift.safe_span(Duration::from_millis(answer.ttl_ms))));
                table.schedule(*key, sent.after(lease.ttl / 3));
            } else {
                lease.ended(answer.reason());
                table.remove(*key);
            }
        }
        drop(table);
        self.changed.notify_one();
    }

    fn soon_again(&self, batch: &[(u64, Arc<HeldLease>)]) {
        let now = self.clock.now();
        let mut table = self.table.lock();
        for (key, lease) in batch {
            table.schedule(*key, now.after(jitter(RETRY_AFTER.min(resend_after(lease.ttl)))));
        }
        drop(table);
        self.changed.notify_one();
    }

    fn close(&self) {
        let mut table = self.table.lock();
        table.closed = true;
        for entry in table.entries.values() {
            entry.lease.lose(Loss::Closed);
        }
        table.entries.clear();
        table.agenda.clear();
    }
}

async fn keep(keeper: Arc<Keeper>, spawner: Spawner, stop: CancellationToken) {
    loop {
        let nap = async {
            match keeper.idle_for() {
                Some(span) => sleep(span.min(LOOK_EVERY)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return keeper.close(),
            () = keeper.changed.notified() => {}
            () = nap => {}
        }
        let due = keeper.take_due();
        for batch in due.chunks(RENEWALS_PER_MESSAGE) {
            let (keeper, batch) = (keeper.clone(), batch.to_vec());
            spawner.spawn(async move { keeper.renew(batch).await });
        }
    }
}

fn resend_after(ttl: Duration) -> Duration {
    (ttl / 6).min(RESEND_MAX)
}
