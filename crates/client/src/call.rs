//! Operations that do not wait in a queue: sent, and sent again elsewhere, until answered or out of time.

use std::time::Duration;

use leasehold_proto::v1::answer::Answer;
use leasehold_proto::v1::operation::Operation;

use crate::backoff::Backoff;
use crate::clock::Moment;
use crate::error::{Error, Verdict};
use crate::inner::Inner;
use crate::runtime::{sleep, within};
use crate::stream::Broken;

/// An operation unanswered for so long is sent again on another endpoint; twice as long for every further send, so that a
/// cluster that is merely slow gets to answer.
pub(crate) const RESEND_AFTER: Duration = Duration::from_secs(1);

/// An answer, and what its times are counted from.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) answer: Answer,
    /// When the send that was answered went out.
    pub(crate) sent: Moment,
    /// Earlier sends whose fate is unknown.
    pub(crate) earlier_in_doubt: bool,
}

/// The troubles of one request so far: what to tell the caller when its time is up.
#[derive(Debug)]
pub(crate) struct Troubles {
    /// Whether a send whose outcome is unknown could have changed something.
    pub(crate) in_doubt: bool,
    /// Whether an unanswered send matters: reads change nothing.
    writes: bool,
    backoff: Backoff,
    last: Option<String>,
    /// The endpoint that failed last.
    pub(crate) avoid: Option<usize>,
}

impl Troubles {
    pub(crate) fn new(writes: bool) -> Self {
        Self { in_doubt: false, writes, backoff: Backoff::new(), last: None, avoid: None }
    }

    /// Notes a failed send; says how long to wait before the next.
    pub(crate) fn note(&mut self, endpoint: usize, may_have_happened: bool, message: String) -> Duration {
        self.in_doubt |= may_have_happened && self.writes;
        let first_here = self.avoid != Some(endpoint);
        let first_of_all = self.last.is_none();
        self.avoid = Some(endpoint);
        self.last = Some(message);
        // The first move to another node need not wait.
        if first_of_all && first_here { Duration::ZERO } else { self.backoff.step() }
    }

    /// Starts afresh after a time without trouble.
    pub(crate) fn recovered(&mut self) {
        self.backoff.reset();
        self.avoid = None;
    }

    /// The error for a caller whose time is up.
    pub(crate) fn out_of_time(&self, inner: &Inner) -> Error {
        if inner.stop.is_cancelled() && !self.in_doubt {
            return Error::Closed;
        }
        let message = self.last.clone().unwrap_or_else(|| inner.endpoints.problems());
        Error::out_of_time(self.in_doubt, message)
    }
}

impl Inner {
    /// Does `operation`, which is safe to send twice, until `deadline` at most.
    pub(crate) async fn call(&self, operation: Operation, deadline: Moment) -> Result<Reply, Error> {
        let writes = !matches!(
            operation,
            Operation::Get(_)
                | Operation::List(_)
                | Operation::CheckToken(_)
                | Operation::GetSession(_)
                | Operation::ListSessions(_)
        );
        let mut troubles = Troubles::new(writes);
        let mut patience = RESEND_AFTER;
        loop {
            let left = self.left_until(deadline);
            let stream = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(troubles.out_of_time(self)),
                stream = self.endpoints.stream(troubles.avoid, left) => stream,
            };
            let Some(stream) = stream.filter(|_| !left.is_zero()) else {
                return Err(troubles.out_of_time(self));
            };
            let sent = self.clock.now();
            // A node that cannot do it says so before this client loses patience: then nothing is in doubt.
            let limit = patience.min(left);
            let answered = within(limit, stream.call(operation.clone(), millis(limit))).await;
            let pause = match answered {
                Some(Ok(Answer::Error(error))) => match Verdict::from(error) {
                    Verdict::Final(error) => return Err(error),
                    Verdict::Again { may_have_happened, after, message } => {
                        self.endpoints.demote(stream.endpoint);
                        troubles.note(stream.endpoint, may_have_happened, message).max(after)
                    }
                },
                Some(Ok(answer)) => return Ok(Reply { answer, sent, earlier_in_doubt: troubles.in_doubt }),
                Some(Err(broken)) => {
                    troubles.note(stream.endpoint, broken == Broken::Ended, self.broken_text(stream.endpoint))
                }
                None => {
                    self.endpoints.demote(stream.endpoint);
                    patience *= 2;
                    troubles.note(stream.endpoint, true, self.silence_text(stream.endpoint));
                    Duration::ZERO
                }
            };
            sleep(pause.min(self.left_until(deadline))).await;
        }
    }

    pub(crate) fn broken_text(&self, endpoint: usize) -> String {
        format!("the connection to {} was lost", self.endpoints.address(endpoint))
    }

    pub(crate) fn silence_text(&self, endpoint: usize) -> String {
        format!("no answer from {} in time", self.endpoints.address(endpoint))
    }
}

/// Whole milliseconds, rounded up: zero would mean something else.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX).max(1)
}
