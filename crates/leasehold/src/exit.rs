//! Exit codes, and which error means which.

use std::fmt::Write as _;
use std::process::ExitCode;

use leasehold_client::{Deadlock, Error};

use crate::output::{note, printable};

/// How a verb ends. The numbers are part of the command-line contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok,
    /// The command line, or an argument in it, is wrong.
    Usage,
    /// The cluster refused: stale token, unknown lease, over a limit.
    Refused,
    /// Nothing could be reached, or the fate of the request is unknown; the message tells which.
    Unavailable,
    /// A defect.
    Internal,
    /// Somebody else has the lock, or to wait for it would close a cycle of waits.
    NotAcquired,
    /// The lock was lost while a command ran under it.
    Lost,
    /// The exit code of the command that ran under a lock, or 128 + the signal that ended it.
    Of(u8),
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Usage => 64,
            Self::Refused => 65,
            Self::Unavailable => 69,
            Self::Internal => 70,
            Self::NotAcquired => 75,
            Self::Lost => 76,
            Self::Of(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a verb failed, in words, and how it exits.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(Exit::Internal, message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match &error {
            Error::Options { .. } | Error::InvalidArgument { .. } => Exit::Usage,
            Error::Refused { .. } | Error::NotHeld { .. } | Error::SessionLost { .. } => Exit::Refused,
            Error::Unavailable { .. } | Error::FateUnknown { .. } | Error::TooMany { .. } => Exit::Unavailable,
            Error::Deadlock(_) => Exit::NotAcquired,
            Error::Closed | Error::Server { .. } => Exit::Internal,
        };
        let message = match &error {
            Error::InvalidArgument { field, message } => in_terms_of_flags(field, message),
            Error::Deadlock(deadlock) => deadlock_text(deadlock),
            other => other.to_string(),
        };
        Self::new(exit, message)
    }
}

/// Who waits for whom, a line each.
pub(crate) fn deadlock_text(deadlock: &Deadlock) -> String {
    let mut text = "deadlock: to wait would close a cycle, so somebody in it has to let go first".to_owned();
    for step in &deadlock.cycle {
        let (owner, name) = (printable(&step.owner), printable(&step.name));
        let actor = if step.actor.is_empty() { String::new() } else { format!(", actor {}", printable(&step.actor)) };
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {owner} (session {}{actor}) waits for {name}", step.session);
    }
    text
}

/// The cluster names fields of its messages; the user has written flags.
fn in_terms_of_flags(field: &str, message: &str) -> String {
    let problem = message.strip_prefix(field).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(message);
    let last = field.rsplit('.').next().unwrap_or(field);
    let flag = match last {
        "ttl_ms" => "--ttl",
        "wait_ms" => "--wait",
        "lock_delay_ms" => "--lock-delay",
        "owner" | "metadata" | "value" | "actor" | "permits" | "limit" | "session" | "reason" | "version"
        | "namespace" | "after" | "level" => return format!("--{last}: {problem}"),
        "name" | "locks" => "NAME",
        "token" | "replaces" => "TOKEN",
        "lease" => "LEASE",
        "prefix" => "PREFIX",
        _ => return message.to_owned(),
    };
    // Flags take spans of any unit, fields count milliseconds.
    let unit = if last.ends_with("_ms") { " (ms)" } else { "" };
    let which = lock_number(field).map_or(String::new(), |number| format!(" {number}"));
    format!("{flag}{which}{unit}: {problem}")
}

/// Which of several locks is meant, counted from 1.
fn lock_number(field: &str) -> Option<usize> {
    let index: usize = field.strip_prefix("locks[")?.split_once(']')?.0.parse().ok()?;
    (index > 0).then_some(index + 1)
}

/// Tells a failure, and makes the exit code.
pub(crate) fn report(result: Result<Exit, Failure>) -> ExitCode {
    match result {
        Ok(exit) => exit.into(),
        Err(Failure { exit, message }) => {
            note(&format!("leasehold: {message}"));
            exit.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_cluster_calls_a_field_is_told_as_the_flag() {
        let told = in_terms_of_flags;
        assert_eq!(told("ttl_ms", "ttl_ms: 5 is not between 100 and 9"), "--ttl (ms): 5 is not between 100 and 9");
        assert_eq!(told("locks[0].name", "locks[0].name: must not be empty"), "NAME: must not be empty");
        assert_eq!(told("locks[1].name", "locks[1].name: is named twice"), "NAME 2: is named twice");
        assert_eq!(told("locks[0].permits", "locks[0].permits: 4 is above"), "--permits: 4 is above");
        assert_eq!(told("request_id", "request_id: is bad"), "request_id: is bad");
    }
}
