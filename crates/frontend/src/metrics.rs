//! What `/metrics` tells, in the text format of Prometheus. The names are part of the interface.

use std::sync::OnceLock;
use std::time::Duration;

use leasehold_consensus::clock::deadline_after;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::Instant;

use crate::CallError;

const CALLS: &str = "leasehold_calls_total";
const CALL_SECONDS: &str = "leasehold_call_seconds";
const CONNECTIONS: &str = "leasehold_connections";
const REDIS_REFUSED: &str = "leasehold_redis_refused_total";
const REDIS_UNCHECKED: &str = "leasehold_redis_unchecked_total";

/// Upper bounds of the latency buckets: below a durable append, to above an election.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// The way that a call comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        describe_gauge!(CONNECTIONS, "Open connections, by door");
        describe_counter!(REDIS_REFUSED, "Redis commands and scripts that were refused without effect, by kind");
        describe_counter!(REDIS_UNCHECKED, "Uses of what a policy of the Redis door allows, by what");
        Some(handle)
    });
}

/// The text of `/metrics`.
pub(crate) fn render() -> String {
    match RECORDER.get() {
        Some(Some(handle)) => {
            handle.run_upkeep();
            handle.render()
        }
        _ => String::new(),
    }
}

/// A call that began.
#[derive(Debug)]
pub(crate) struct Call {
    door: Door,
    call: &'static str,
    began: Instant,
}

impl Call {
    pub(crate) fn begin(door: Door, call: &'static str) -> Self {
        Self { door, call, began: deadline_after(Duration::ZERO) }
    }

    /// Counts it with a result that is one of a few words: `ok`, `held`, `refused`, …
    pub(crate) fn end(self, result: &'static str) {
        let (door, call) = (self.door.name(), self.call);
        counter!(CALLS, "door" => door, "call" => call, "result" => result).increment(1);
        let took = deadline_after(Duration::ZERO).saturating_duration_since(self.began);
        histogram!(CALL_SECONDS, "door" => door, "call" => call).record(took.as_secs_f64());
    }

    /// Counts it as failed, by the reason of its error.
    pub(crate) fn fail(self, error: &CallError) {
        self.end(crate::status::reason(error));
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
