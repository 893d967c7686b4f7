//! Exit codes, and which error means which.

use std::process::ExitCode;

use leasehold_client::Error;

use crate::output::note;

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
    /// Somebody else has the lock.
    NotAcquired,
    /// The lock was lost while a command ran under it.
    Lost,
    /// The exit code of the command that ran under a lock, or 128 + the signal that ended it.
    Of(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Usage => 64,
            Exit::Refused => 65,
            Exit::Unavailable => 69,
            Exit::Internal => 70,
            Exit::NotAcquired => 75,
            Exit::Lost => 76,
            Exit::Of(code) => code,
        })
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
            Error::Refused { .. } => Exit::Refused,
            Error::Unavailable { .. } | Error::FateUnknown { .. } | Error::TooMany { .. } => Exit::Unavailable,
            Error::Closed | Error::Server { .. } => Exit::Internal,
        };
        Self::new(exit, error.to_string())
    }
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
