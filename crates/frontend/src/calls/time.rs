//! How long a call may take.

use std::time::Duration;

use leasehold_consensus::clock::deadline_after;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;

use crate::FrontendOptions;

/// The most by which a call ends before its caller's deadline, so that the answer still arrives and says what happened.
const MARGIN_MAX: Duration = Duration::from_millis(100);

/// The deadlines of one call. All are bounded by the option `call_max`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallTime {
    caller: Option<Instant>,
    default: Instant,
    bound: Instant,
}

impl CallTime {
    /// A call that begins now, with what its caller grants it.
    pub(crate) fn begin(granted: Option<Duration>, options: &FrontendOptions) -> Self {
        Self {
            caller: granted
                .filter(|granted| *granted < options.call_max)
                .map(|granted| deadline_after(granted.saturating_sub(MARGIN_MAX.min(granted / 10)))),
            default: deadline_after(options.call_default),
            bound: deadline_after(options.call_max),
        }
    }

    /// A unary call: the caller's time stands in `grpc-timeout`.
    pub(crate) fn of_unary(metadata: &MetadataMap, options: &FrontendOptions) -> Self {
        let granted = metadata.get("grpc-timeout").and_then(|value| parse_timeout(value.to_str().ok()?));
        Self::begin(granted, options)
    }

    /// By when a command or a read must be done.
    pub(crate) fn deadline(&self) -> Instant {
        self.caller.unwrap_or(self.default)
    }

    /// By when a wait must be over whatever happens.
    pub(crate) fn wait_deadline(&self) -> Instant {
        self.caller.unwrap_or(self.bound)
    }

    /// Whether the caller's deadline is what ends the wait.
    pub(crate) fn caller_ends_wait(&self) -> bool {
        self.caller.is_some()
    }
}

/// `grpc-timeout`: at most eight digits and a unit.
fn parse_timeout(value: &str) -> Option<Duration> {
    let unit_at = value.len().checked_sub(1)?;
    let digits = value.get(..unit_at)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match value.get(unit_at..)? {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse_timeout("3S"), Some(Duration::from_secs(3)));
        assert_eq!(parse_timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for bad in ["", "S", "1", "-1S", "123456789S", "1s", "1é"] {
            assert_eq!(parse_timeout(bad), None, "{bad}");
        }
    }

    #[test]
    fn no_call_outlives_the_bound() {
        let options = FrontendOptions::default();
        let long = CallTime::begin(Some(Duration::from_secs(u64::from(u32::MAX))), &options);
        assert!(!long.caller_ends_wait());
        assert!(long.wait_deadline() <= deadline_after(options.call_max));
        let short = CallTime::begin(Some(Duration::from_secs(1)), &options);
        assert!(short.deadline() < deadline_after(Duration::from_secs(1)));
    }
}
