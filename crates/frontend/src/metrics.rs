//! What `/metrics` tells, in the text format of Prometheus. The names are part of the interface.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use leasehold_consensus::Node;
use leasehold_consensus::clock::deadline_after;
use metrics::{Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::RwLock;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::CallError;

const CALLS: &str = "leasehold_calls_total";
const CALL_SECONDS: &str = "leasehold_call_seconds";
const CONNECTIONS: &str = "leasehold_connections";
const REDIS_REFUSED: &str = "leasehold_redis_refused_total";
const REDIS_UNCHECKED: &str = "leasehold_redis_unchecked_total";

const READY: &str = "leasehold_ready";
const LEADS: &str = "leasehold_leads";
const APPLIED: &str = "leasehold_applied_index";
const STATES_COMPARED: &str = "leasehold_states_compared_total";
const STATES_DIFFER: &str = "leasehold_states_differ_total";
const LOG_TIME_DROPPED: &str = "leasehold_log_time_dropped_seconds";

/// Upper bounds of the latency buckets: below a durable append, to above an election.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The way that a call comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Door {
    /// A unary call of `LockService`.
    Grpc,
    /// An operation on a `Connect` stream.
    Connect,
    /// Dapr's API over gRPC.
    DaprGrpc,
    /// Dapr's API over HTTP.
    DaprHttp,
    /// The Redis protocol.
    Redis,
}

impl Door {
    /// In metrics, logs, and the metadata of grants.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Connect => "connect",
            Self::DaprGrpc => "dapr-grpc",
            Self::DaprHttp => "dapr-http",
            Self::Redis => "redis",
        }
    }
}

/// The process's recorder. Several frontends in one process (tests) share it.
static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Starts counting; does nothing the second time.
pub(crate) fn install() {
    RECORDER.get_or_init(|| {
        let builder = PrometheusBuilder::new();
        let builder = builder.set_buckets_for_metric(Matcher::Full(CALL_SECONDS.into()), &BUCKETS).ok()?;
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        // Somebody else's recorder is there already: then `/metrics` has nothing to tell.
        metrics::set_global_recorder(recorder).ok()?;
        describe_counter!(CALLS, "Calls that ended, by door, call and result");
        describe_histogram!(
            CALL_SECONDS,
            metrics::Unit::Seconds,
            "Time from a call's arrival to its answer, by door and call"
        );
        describe_gauge!(READY, "1 while this node takes calls");
        describe_gauge!(LEADS, "1 while this node leads");
        describe_gauge!(APPLIED, "Log index of the last entry that this node has applied");
        describe_gauge!(
            LOG_TIME_DROPPED,
            "Log time that this node has not counted against holders while it led, since it started"
        );
        describe_counter!(STATES_COMPARED, "State hashes of other members that this node has compared with its own");
        describe_counter!(STATES_DIFFER, "Those that differed: alert when this is not 0");
        describe_gauge!(CONNECTIONS, "Open connections, by door");
        describe_counter!(REDIS_REFUSED, "Redis commands and scripts that were refused without effect, by kind");
        describe_counter!(REDIS_UNCHECKED, "Uses of what a policy of the Redis door allows, by what");
        Some(handle)
    });
}

/// What is looked up when somebody asks.
pub(crate) fn tell_node(node: &Node, ready: bool) {
    let leads = *node.leader().borrow() == Some(node.id());
    gauge!(READY).set(f64::from(u8::from(ready)));
    gauge!(LEADS).set(f64::from(u8::from(leads)));
    let comparisons = node.comparisons();
    counter!(STATES_COMPARED).absolute(comparisons.compared);
    counter!(STATES_DIFFER).absolute(comparisons.differing);
    gauge!(LOG_TIME_DROPPED).set(node.log_time_dropped().as_secs_f64());
    // Exact up to 2^53: more entries than any log will have.
    gauge!(APPLIED).set(*node.applied().borrow() as f64);
}

/// The text of `/metrics`.
pub(crate) fn render() -> String {
    RECORDER.get().and_then(Option::as_ref).map(PrometheusHandle::render).unwrap_or_default()
}

/// Folds what was measured into its buckets now and then, until `stop`: samples pile up where nobody asks for them.
pub(crate) async fn keep_up(stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(UPKEEP_INTERVAL)).await.is_some() {
        if let Some(Some(handle)) = RECORDER.get() {
            handle.run_upkeep();
        }
    }
}

/// The handles of one kind of call. There are as many as doors times calls: they live as long as the process.
struct Meter {
    ok: Counter,
    seconds: Histogram,
}

/// Looking a metric up by its labels allocates; calls come by the ten thousand.
static METERS: LazyLock<RwLock<Meters>> = LazyLock::new(RwLock::default);

type Meters = HashMap<(Door, &'static str), Arc<Meter>>;

impl Meter {
    fn of(door: Door, call: &'static str) -> Arc<Self> {
        if let Some(meter) = METERS.read().get(&(door, call)) {
            return Arc::clone(meter);
        }
        let mut meters = METERS.write();
        let meter = meters.entry((door, call)).or_insert_with(|| {
            let ok = counter!(CALLS, "door" => door.name(), "call" => call, "result" => "ok");
            let seconds = histogram!(CALL_SECONDS, "door" => door.name(), "call" => call);
            Arc::new(Self { ok, seconds })
        });
        Arc::clone(meter)
    }
}

/// A call that began. One that is dropped was given up by its caller.
pub(crate) struct Call {
    door: Door,
    call: &'static str,
    began: Instant,
    ended: bool,
}

impl Call {
    pub(crate) fn begin(door: Door, call: &'static str) -> Self {
        Self { door, call, began: deadline_after(Duration::ZERO), ended: false }
    }

    /// Counts it with a result that is one of a few words: `ok`, `held`, `refused`, …
    pub(crate) fn end(mut self, result: &'static str) {
        self.count(result);
    }

    /// Counts it as failed, by the reason of its error.
    pub(crate) fn fail(self, error: &CallError) {
        self.end(crate::status::reason(error));
    }

    /// Counts it by what came of it.
    pub(crate) fn finish<T>(self, result: &Result<T, CallError>) {
        match result {
            Ok(_) => self.end("ok"),
            Err(error) => self.fail(error),
        }
    }

    fn count(&mut self, result: &'static str) {
        self.ended = true;
        let (door, call) = (self.door, self.call);
        let meter = Meter::of(door, call);
        if result == "ok" {
            meter.ok.increment(1);
        } else {
            counter!(CALLS, "door" => door.name(), "call" => call, "result" => result).increment(1);
        }
        let took = deadline_after(Duration::ZERO).saturating_duration_since(self.began);
        meter.seconds.record(took.as_secs_f64());
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            self.count("given_up");
        }
    }
}

/// A connection came or went.
pub(crate) fn connections(door: Door, change: f64) {
    gauge!(CONNECTIONS, "door" => door.name()).increment(change);
}

/// A command or script of the Redis door was refused without effect.
pub(crate) fn redis_refused(kind: &'static str) {
    counter!(REDIS_REFUSED, "kind" => kind).increment(1);
}

/// A policy of the Redis door let something through.
pub(crate) fn redis_unchecked(what: &'static str) {
    counter!(REDIS_UNCHECKED, "what" => what).increment(1);
}
