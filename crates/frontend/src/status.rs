//! The one place where a [`CallError`] becomes what a client sees: a gRPC status with google.rpc details, or the `Error` of a
//! `Connect` answer. Both say the same.

use std::collections::HashMap;

use leasehold_consensus::{ReadError, SubmitError};
use leasehold_proto::v1;
use leasehold_state_machine::Refusal;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::CallError;

/// `google.rpc.ErrorInfo.domain` of all our errors.
const DOMAIN: &str = "leasehold";

/// Code, reason, and the field or limit concerned.
fn verdict(error: &CallError) -> (Code, &'static str, String) {
    let none = String::new;
    match error {
        CallError::Invalid { field, .. } => (Code::InvalidArgument, "INVALID_FIELD", field.clone()),
        CallError::Refused(refusal) => refused(refusal),
        CallError::Submit(SubmitError::NoLeader { .. }) | CallError::Read(ReadError::NoLeader { .. }) => {
            (Code::Unavailable, "NO_LEADER", none())
        }
        CallError::Submit(SubmitError::Busy { .. }) => (Code::Unavailable, "BUSY", none()),
        CallError::Submit(SubmitError::FateUnknown) => (Code::DeadlineExceeded, "FATE_UNKNOWN", none()),
        CallError::Submit(SubmitError::TooLarge { .. }) => (Code::ResourceExhausted, "TOO_LARGE", "entry_bytes".into()),
        CallError::Submit(SubmitError::Stopping) | CallError::Read(ReadError::Stopping) | CallError::Stopping => {
            (Code::Unavailable, "STOPPING", none())
        }
        CallError::NotReady { .. } => (Code::Unavailable, "NOT_READY", none()),
        CallError::Superseded { .. } => (Code::Aborted, "SUPERSEDED", none()),
        CallError::WaitAdrift => (Code::Unavailable, "WAIT_ADRIFT", none()),
        CallError::WaitTooLong => (Code::Unavailable, "WAIT_TOO_LONG", none()),
        CallError::CallerDeadline => (Code::DeadlineExceeded, "CALLER_DEADLINE", none()),
        CallError::LimitReached { limit, .. } => (Code::ResourceExhausted, "LIMIT_REACHED", (*limit).into()),
        CallError::DuplicateOperation { .. } => (Code::InvalidArgument, "DUPLICATE_OPERATION", "id".into()),
        CallError::ForeignOutcome { .. } => (Code::Internal, "INTERNAL", none()),
    }
}

fn refused(refusal: &Refusal) -> (Code, &'static str, String) {
    let none = String::new;
    match refusal {
        Refusal::NotFounded => (Code::Unavailable, "NOT_FOUNDED", none()),
        Refusal::TooLate { .. } => (Code::DeadlineExceeded, "TOO_LATE", none()),
        Refusal::Invalid { field, .. } => (Code::InvalidArgument, "INVALID_FIELD", field.clone()),
        Refusal::LimitReached { limit, .. } => (Code::ResourceExhausted, "LIMIT_REACHED", limit.clone()),
        Refusal::WrongToken { .. } => (Code::FailedPrecondition, "WRONG_TOKEN", "token".into()),
        Refusal::BodyMismatch => (Code::InvalidArgument, "BODY_MISMATCH", "request_id".into()),
        Refusal::AlreadyAnswered { .. } => (Code::FailedPrecondition, "ALREADY_ANSWERED", "request_id".into()),
        Refusal::Superseded { .. } => (Code::Aborted, "SUPERSEDED", none()),
        Refusal::Level { .. } => (Code::FailedPrecondition, "LEVEL", none()),
    }
}

fn message(error: &CallError) -> String {
    match error {
        CallError::Refused(Refusal::TooLate { .. }) => format!("{error}; nothing was done"),
        other => other.to_string(),
    }
}

/// The status of a unary call.
pub(crate) fn status(error: &CallError) -> Status {
    let (code, reason, field) = verdict(error);
    let message = message(error);
    let mut details = ErrorDetails::new();
    let mut metadata = HashMap::new();
    if !field.is_empty() {
        let key = if code == Code::ResourceExhausted { "limit" } else { "field" };
        metadata.insert(key.to_owned(), field.clone());
    }
    details.set_error_info(reason, DOMAIN, metadata);
    if code == Code::InvalidArgument {
        details.add_bad_request_violation(field, message.clone());
    }
    if let Some(delay) = error.retry_after() {
        details.set_retry_info(Some(delay));
    }
    Status::with_error_details(code, message, details)
}

/// The error of one operation of a `Connect` stream.
pub(crate) fn answer(error: &CallError) -> v1::Error {
    let (code, reason, field) = verdict(error);
    v1::Error {
        code: code.into(),
        message: message(error),
        reason: reason.to_owned(),
        field,
        retry_after_ms: error.retry_after().map_or(0, |delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use leasehold_state_machine::{FencingToken, LogTime};

    use super::*;

    #[test]
    fn no_leader_is_unavailable_with_advice() {
        let error = CallError::Submit(SubmitError::NoLeader { retry_after: Duration::from_millis(250) });
        let status = status(&error);
        assert_eq!(status.code(), Code::Unavailable);
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("NO_LEADER", "leasehold"));
        assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_millis(250)));
        let answer = answer(&error);
        assert_eq!((answer.code, answer.reason.as_str(), answer.retry_after_ms), (14, "NO_LEADER", 250));
    }

    #[test]
    fn an_unknown_fate_says_that_it_may_have_happened() {
        let status = status(&CallError::Submit(SubmitError::FateUnknown));
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(status.message().contains("may have happened"), "{}", status.message());
        assert_eq!(status.get_details_error_info().unwrap().reason, "FATE_UNKNOWN");
    }

    #[test]
    fn too_late_says_that_nothing_was_done() {
        let error = CallError::Refused(Refusal::TooLate { not_after: LogTime(1), now: LogTime(2) });
        let status = status(&error);
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert!(status.message().contains("nothing was done"), "{}", status.message());
        assert!(!error.is_retryable());
    }

    #[test]
    fn bad_input_names_its_field_in_both_shapes() {
        let error = CallError::invalid("locks[0].name", "is empty");
        let status = status(&error);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "locks[0].name");
        assert_eq!(answer(&error).field, "locks[0].name");
    }

    #[test]
    fn the_machines_refusals_keep_their_meaning() {
        let code = |refusal: Refusal| verdict(&CallError::Refused(refusal)).0;
        assert_eq!(code(Refusal::WrongToken { token: FencingToken(1), name: "a".into() }), Code::FailedPrecondition);
        assert_eq!(code(Refusal::LimitReached { limit: "leases_max".into(), max: 1 }), Code::ResourceExhausted);
        assert_eq!(code(Refusal::BodyMismatch), Code::InvalidArgument);
        assert_eq!(code(Refusal::Superseded { attempt: 1, by: 2 }), Code::Aborted);
        assert_eq!(code(Refusal::NotFounded), Code::Unavailable);
    }
}
