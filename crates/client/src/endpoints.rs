//! All nodes of the cluster as the client sees them: one stream to each, kept open, one of them preferred.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use leasehold_platform::random;
use parking_lot::Mutex;
use rand::Rng;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::options::ClientOptions;
use crate::runtime::{Spawner, sleep, within};
use crate::stream::Stream;
use crate::transport::{self, Inbound};

/// How often a stream with work under way is looked at.
const LIVENESS_TICK: Duration = Duration::from_millis(250);
/// Silence after which the node is asked for a sign of life.
const SILENCE_MAX: Duration = Duration::from_millis(500);
/// A ping unanswered for so long means that the node is gone or stopped.
const PING_ANSWER_MAX: Duration = Duration::from_millis(1_500);

/// The endpoints, and which of them can be used now.
#[derive(Debug)]
pub(crate) struct Endpoints {
    slots: Vec<Slot>,
    preferred: AtomicUsize,
    /// Counts changes of any slot.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Slot {
    address: String,
    state: Mutex<SlotState>,
}

#[derive(Debug, Default)]
struct SlotState {
    stream: Option<Arc<Stream>>,
    /// Why there is none.
    problem: Option<String>,
}

impl Endpoints {
    /// Starts connecting to all of them; goes on, one task each, until `stop`.
    pub(crate) fn start(options: &ClientOptions, spawner: &Spawner, stop: &CancellationToken) -> Arc<Self> {
        let slot = |address: &String| Slot { address: address.clone(), state: Mutex::default() };
        let slots: Vec<Slot> = options.endpoints.iter().map(slot).collect();
        assert!(!slots.is_empty(), "options were validated");
        // Clients spread over the nodes.
        let preferred = random::rng().random_range(0..slots.len());
        let endpoints =
            Arc::new(Self { slots, preferred: AtomicUsize::new(preferred), changes: watch::Sender::new(0) });
        for index in 0..endpoints.slots.len() {
            let keeping = keep_open(endpoints.clone(), index, options.clone(), stop.clone());
            spawner.spawn(keeping);
        }
        endpoints
    }

    /// One endpoint, with a stream that is there already.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of_one(stream: Arc<Stream>) -> Arc<Self> {
        let state = Mutex::new(SlotState { stream: Some(stream), problem: None });
        let slots = vec![Slot { address: String::new(), state }];
        Arc::new(Self { slots, preferred: AtomicUsize::new(0), changes: watch::Sender::new(0) })
    }

    /// A live stream: the preferred one, else the next; the one to `avoid` only if there is no other.
    pub(crate) fn pick(&self, avoid: Option<usize>) -> Option<Arc<Stream>> {
        let count = self.slots.len();
        let start = self.preferred.load(Ordering::Relaxed);
        let in_order = (0..count).map(|step| (start + step) % count);
        let live = |index: usize| self.slots[index].state.lock().stream.clone();
        in_order.filter(|index| Some(*index) != avoid).find_map(live).or_else(|| avoid.and_then(live))
    }

    /// Like [`Endpoints::pick`], but waits up to `bound` for one.
    pub(crate) async fn stream(&self, avoid: Option<usize>, bound: Duration) -> Option<Arc<Stream>> {
        if let Some(stream) = self.pick(avoid) {
            return Some(stream);
        }
        let mut changes = self.changes.subscribe();
        within(bound, async move {
            loop {
                if let Some(stream) = self.pick(avoid) {
                    return stream;
                }
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        })
        .await
    }

    /// Prefers another endpoint from now on, if this one is the preferred one.
    pub(crate) fn demote(&self, endpoint: usize) {
        let next = (endpoint + 1) % self.slots.len();
        let _ = self.preferred.compare_exchange(endpoint, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(crate) fn address(&self, endpoint: usize) -> &str {
        &self.slots[endpoint].address
    }

    /// Why no endpoint can be used, in words.
    pub(crate) fn problems(&self) -> String {
        let tell = |slot: &Slot| {
            let problem = slot.state.lock().problem.clone();
            format!("{}: {}", slot.address, problem.as_deref().unwrap_or("not connected yet"))
        };
        self.slots.iter().map(tell).collect::<Vec<_>>().join("; ")
    }

    fn set(&self, endpoint: usize, stream: Option<Arc<Stream>>, problem: Option<String>) {
        *self.slots[endpoint].state.lock() = SlotState { stream, problem };
        self.changes.send_modify(|count| *count += 1);
    }
}

/// Keeps one endpoint's stream open until `stop`.
async fn keep_open(endpoints: Arc<Endpoints>, index: usize, options: ClientOptions, stop: CancellationToken) {
    let ClientOptions { connect_timeout, clock, dialer, observer, .. } = options;
    let mut backoff = Backoff::new();
    loop {
        let (stream, operations) = Stream::new(index, observer.clone());
        let opening = transport::open(&dialer, endpoints.address(index), connect_timeout, operations);
        let opened = tokio::select! {
            () = stop.cancelled() => return,
            opened = opening => opened,
        };
        let problem = match opened {
            Ok(inbound) => {
                backoff.reset();
                let stream = Arc::new(stream);
                endpoints.set(index, Some(stream.clone()), None);
                let problem = tokio::select! {
                    () = stop.cancelled() => "the client is closed".to_owned(),
                    problem = pump(&stream, inbound, &clock) => problem,
                };
                tracing::debug!(endpoint = endpoints.address(index), problem, "stream ended");
                endpoints.demote(index);
                endpoints.set(index, None, Some(problem.clone()));
                stream.end();
                problem
            }
            Err(problem) => problem,
        };
        endpoints.set(index, None, Some(problem));
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(backoff.step()) => {}
        }
    }
}

/// Hands answers out until the stream ends or the node gives no sign of life; says which.
async fn pump(stream: &Stream, mut inbound: Inbound, clock: &Clock) -> String {
    let mut heard = clock.now();
    let mut pinged = None;
    loop {
        let busy = stream.is_busy();
        tokio::select! {
            biased;
            frame = inbound.message() => match frame {
                Ok(Some(frame)) => {
                    stream.deliver(frame);
                    heard = clock.now();
                    pinged = None;
                }
                Ok(None) => return "the node ended the stream".to_owned(),
                Err(status) => return format!("the stream broke: {}", status.message()),
            },
            () = stream.has_ended() => return "the stream was given up".to_owned(),
            () = stream.becomes_busy(), if !busy => {
                // Silence while nothing was asked means nothing.
                heard = clock.now();
                pinged = None;
            }
            () = sleep(LIVENESS_TICK), if busy => {
                let now = clock.now();
                match pinged {
                    Some(sent) if now.since(sent) >= PING_ANSWER_MAX => {
                        return format!("no sign of life for {:?}", now.since(heard));
                    }
                    Some(_) => {}
                    None if now.since(heard) >= SILENCE_MAX => {
                        stream.ping();
                        pinged = Some(now);
                    }
                    None => {}
                }
            }
        }
    }
}
