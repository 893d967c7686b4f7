//! The one place where a [`CallError`] becomes what a client sees: a gRPC status with google.rpc details, or the `Error` of a
//! `Connect` answer. Both say the same.

use std::collections::HashMap;

use leasehold_consensus::{RaiseLevelError, ReadError, SubmitError};
use leasehold_proto::v1;
use leasehold_state_machine::{Refusal, Revision};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{CallError, convert};

/// `google.rpc.ErrorInfo.domain` of all our errors.
const DOMAIN: &str = "leasehold";

/// Code, reason, and the field or limit concerned.
fn verdict(error: &CallError) -> (Code, &'static str, String) {
    let none = String::new;
    match error {
        CallError::Invalid { field, .. } => (Code::InvalidArgument, "INVALID_FIELD", field.clone()),
        CallError::Refused(refusal) => refused(refusal),
        CallError::Submit(error) | CallError::RaiseLevel(RaiseLevelError::Submit(error)) => submit(error),
        CallError::Read(error) | CallError::RaiseLevel(RaiseLevelError::Read(error)) => read(error),
        CallError::RaiseLevel(RaiseLevelError::Refused(refusal)) => refused(refusal),
        CallError::RaiseLevel(RaiseLevelError::Silent { .. }) => (Code::FailedPrecondition, "MEMBER_SILENT", none()),
        CallError::RaiseLevel(RaiseLevelError::Unsupported { .. }) => {
            (Code::FailedPrecondition, "LEVEL_UNSUPPORTED", "level".into())
        }
        CallError::RaiseLevel(RaiseLevelError::Lower { .. }) => {
            (Code::FailedPrecondition, "LEVEL_LOWER", "level".into())
        }
        CallError::Stopping => (Code::Unavailable, "STOPPING", none()),
        CallError::NotReady { .. } => (Code::Unavailable, "NOT_READY", none()),
        CallError::Superseded { .. } => (Code::Aborted, "SUPERSEDED", none()),
        CallError::WaitAdrift => (Code::Unavailable, "WAIT_ADRIFT", none()),
        CallError::WaitTooLong => (Code::Unavailable, "WAIT_TOO_LONG", none()),
        CallError::CallerDeadline | CallError::CallerDeadlineKept => {
            (Code::DeadlineExceeded, "CALLER_DEADLINE", none())
        }
        CallError::SessionMismatch { .. } => (Code::InvalidArgument, "BODY_MISMATCH", "session".into()),
        CallError::RevisionGone { .. } => (Code::OutOfRange, "REVISION_GONE", "after".into()),
        CallError::RevisionAhead { .. } => (Code::Unavailable, "REVISION_AHEAD", none()),
        CallError::WatchTooSlow { .. } => (Code::ResourceExhausted, "WATCH_TOO_SLOW", "watch_events_max".into()),
        CallError::WatchStopped => (Code::Cancelled, "WATCH_STOPPED", none()),
        CallError::LimitReached { limit, .. } => (Code::ResourceExhausted, "LIMIT_REACHED", (*limit).into()),
        CallError::DuplicateOperation { .. } => (Code::InvalidArgument, "DUPLICATE_OPERATION", "id".into()),
        CallError::Moving { .. } => (Code::Aborted, "MOVING", none()),
        CallError::ForeignOutcome { .. } => (Code::Internal, "INTERNAL", none()),
    }
}

fn submit(error: &SubmitError) -> (Code, &'static str, String) {
    let none = String::new;
    match error {
        SubmitError::NoLeader { .. } => (Code::Unavailable, "NO_LEADER", none()),
        SubmitError::Busy { .. } => (Code::Unavailable, "BUSY", none()),
        SubmitError::FateUnknown => (Code::DeadlineExceeded, "FATE_UNKNOWN", none()),
        SubmitError::TooLarge { .. } => (Code::ResourceExhausted, "TOO_LARGE", "entry_bytes".into()),
        SubmitError::Level { .. } => (Code::FailedPrecondition, "LEVEL_TOO_LOW", none()),
        SubmitError::Stopping => (Code::Unavailable, "STOPPING", none()),
    }
}

fn read(error: &ReadError) -> (Code, &'static str, String) {
    match error {
        ReadError::NoLeader { .. } => (Code::Unavailable, "NO_LEADER", String::new()),
        ReadError::Stopping => (Code::Unavailable, "STOPPING", String::new()),
    }
}

/// The revision that an error of a watch tells: what its client goes on from.
fn revision_of(error: &CallError) -> Option<Revision> {
    match error {
        CallError::RevisionGone { oldest, .. } => Some(*oldest),
        CallError::WatchTooSlow { revision, .. } => Some(*revision),
        _ => None,
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
        Refusal::NoSession { .. } => (Code::NotFound, "NO_SESSION", "session".into()),
        Refusal::LimitConflict { .. } => (Code::FailedPrecondition, "LIMIT_CONFLICT", "limit".into()),
        Refusal::NotHeld { .. } => (Code::FailedPrecondition, "NOT_HELD", "replaces".into()),
        Refusal::Level { .. } => (Code::FailedPrecondition, "LEVEL_TOO_LOW", none()),
    }
}

/// What an error says, to whoever it is told.
pub(crate) fn message(error: &CallError) -> String {
    match error {
        CallError::Refused(Refusal::TooLate { .. }) => format!("{error}; nothing was done"),
        other => other.to_string(),
    }
}

/// The reason of an error, as `google.rpc.ErrorInfo` tells it.
pub(crate) fn reason(error: &CallError) -> &'static str {
    verdict(error).1
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
    if let Some(revision) = revision_of(error) {
        metadata.insert("revision_index".to_owned(), revision.index.to_string());
        metadata.insert("revision_ordinal".to_owned(), revision.ordinal.to_string());
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
        revision: revision_of(error).map(convert::revision),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use leasehold_state_machine::{FencingToken, LeaseId, LogTime};

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
        assert_eq!(code(Refusal::NoSession { session: LeaseId(1), reason: None }), Code::NotFound);
        assert_eq!(code(Refusal::LimitConflict { name: "a".into(), limit: 2, asked: 3 }), Code::FailedPrecondition);
        assert_eq!(code(Refusal::Level { needed: 2, level: 1 }), Code::FailedPrecondition);
    }

    #[test]
    fn a_watch_is_told_where_to_go_on_in_both_shapes() {
        let at = |index| Revision { index, ordinal: 4 };
        let gone = CallError::RevisionGone { revision: at(3), oldest: at(9) };
        let status = status(&gone);
        assert_eq!(status.code(), Code::OutOfRange);
        assert!(status.message().contains("9.4"), "{}", status.message());
        let metadata = status.get_details_error_info().unwrap().metadata;
        assert_eq!((metadata["revision_index"].as_str(), metadata["revision_ordinal"].as_str()), ("9", "4"));
        assert_eq!(answer(&gone).revision, Some(v1::Revision { index: 9, ordinal: 4 }));
        let slow = CallError::WatchTooSlow { revision: at(3), oldest: at(9) };
        assert_eq!(answer(&slow).revision, Some(v1::Revision { index: 3, ordinal: 4 }));
        assert_eq!((verdict(&slow).0, verdict(&slow).1), (Code::ResourceExhausted, "WATCH_TOO_SLOW"));
    }

    #[test]
    fn both_levels_are_named() {
        let error = CallError::Submit(SubmitError::Level { needed: 2, level: 1 });
        let status = status(&error);
        assert_eq!(status.get_details_error_info().unwrap().reason, "LEVEL_TOO_LOW");
        assert!(status.message().contains("level 2") && status.message().contains("at 1"), "{}", status.message());
        assert!(!error.is_retryable());
    }
}
