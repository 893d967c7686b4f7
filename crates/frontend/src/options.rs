//! What a frontend is started with.

use std::time::Duration;

use leasehold_state_machine::CALL_MS_MAX;

use crate::{DaprOptions, RedisOptions};

/// Progress is told no more often.
const PROGRESS_MIN: Duration = Duration::from_millis(10);

/// Bounds of a frontend. Every queue, wait and connection has one here or as a constant beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrontendOptions {
    /// How long a call may take whose caller sets no deadline, apart from its wait in a queue.
    pub call_default: Duration,
    /// How long any call may take, its wait included.
    pub call_max: Duration,
    /// Waits end UNAVAILABLE once this node has known no leader for so long.
    pub leaderless_max: Duration,
    /// Operations of one `Connect` stream that are worked on at once, waits not counted: past it the stream is not read.
    pub stream_operations_max: usize,
    /// Waiting acquires of one `Connect` stream: past it they are refused. Reading on lets keep-alives through.
    pub stream_waits_max: usize,
    /// Waiting acquires of this node: past it they are refused.
    pub waits_max: usize,
    /// Watches of one `Connect` stream: past it they are refused.
    pub stream_watches_max: usize,
    /// Watches of this node: past it they are refused.
    pub watches_max: usize,
    /// Recent events that this node remembers for watches: one that does not read keeps up to so many behind.
    pub watch_events_max: usize,
    /// Bytes that these events take, about.
    pub watch_bytes_max: usize,
    /// A watch of which nothing happens for so long is told how far it has heard.
    pub watch_progress: Duration,
    /// Open connections of one port: past it none is accepted.
    pub connections_max: usize,
    /// A connection from which nothing came for so long is closed (a living client answers pings).
    pub idle_max: Duration,
    /// How long a shutdown waits for calls and streams to end.
    pub shutdown_max: Duration,
    /// What clients of Dapr find; see [`DaprOptions::validate`].
    pub dapr: DaprOptions,
    /// The Redis door, where its port is served.
    pub redis: RedisOptions,
}

impl Default for FrontendOptions {
    fn default() -> Self {
        Self {
            call_default: Duration::from_secs(5),
            call_max: Duration::from_millis(CALL_MS_MAX),
            leaderless_max: Duration::from_secs(5),
            stream_operations_max: 4_096,
            stream_waits_max: 10_000,
            waits_max: 200_000,
            stream_watches_max: 1_000,
            watches_max: 10_000,
            watch_events_max: 131_072,
            watch_bytes_max: 64 << 20,
            watch_progress: Duration::from_secs(5),
            connections_max: 8_192,
            idle_max: Duration::from_secs(60),
            shutdown_max: Duration::from_secs(3),
            dapr: DaprOptions::default(),
            redis: RedisOptions::default(),
        }
    }
}

/// An option that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct FrontendOptionsError {
    /// Name of the option.
    pub field: &'static str,
    /// What is wrong, with the limit.
    pub problem: String,
}

impl FrontendOptions {
    /// Checks the options.
    pub fn validate(&self) -> Result<(), FrontendOptionsError> {
        let refuse = |field, problem: String| Err(FrontendOptionsError { field, problem });
        let call_max = Duration::from_millis(CALL_MS_MAX);
        if self.call_max.is_zero() || self.call_max > call_max {
            return refuse("call-max", format!("{:?} is not between 1 ms and {call_max:?}", self.call_max));
        }
        if self.call_default.is_zero() || self.call_default > self.call_max {
            return refuse("call-default", format!("{:?} is not between 1 ms and call-max", self.call_default));
        }
        if self.watch_progress < PROGRESS_MIN {
            return refuse(
                "watch-progress",
                format!("{:?} is below the lowest of {PROGRESS_MIN:?}", self.watch_progress),
            );
        }
        for (field, value) in [
            ("stream-operations-max", self.stream_operations_max),
            ("stream-waits-max", self.stream_waits_max),
            ("waits-max", self.waits_max),
            ("stream-watches-max", self.stream_watches_max),
            ("watches-max", self.watches_max),
            ("watch-events-max", self.watch_events_max),
            ("watch-bytes-max", self.watch_bytes_max),
            ("connections-max", self.connections_max),
        ] {
            if value == 0 {
                return refuse(field, "must be at least 1".into());
            }
        }
        self.redis.validate()
    }
}
