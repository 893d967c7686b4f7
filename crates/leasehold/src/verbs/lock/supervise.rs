//! Watches over a command that runs under a lock, and ends it before the lease does.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use leasehold_client::{Guard, Loss};
use rustix::process::Signal;
use tokio::process::Child;
use tokio::time::sleep;

use super::group::Group;
use crate::exit::Failure;
use crate::output::note;
use crate::verbs::signals::Signals;

/// How long a command may take to end once the cluster has said that the lock is gone: every moment of it is one too many.
const GONE_GRACE: Duration = Duration::from_millis(500);
/// How long processes that the command left behind may take to end.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

/// How long before the end of a lease that is not being renewed the command is told to end, and made to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Margins {
    pub(super) term: Duration,
    pub(super) kill: Duration,
}

impl Margins {
    /// TERM with a sixth of the ttl left, but at least a second and never more than a third: that much is left when
    /// renewals have failed for a while, not when one is merely due.
    pub(super) fn of(ttl: Duration) -> Self {
        let term = (ttl / 6).max(Duration::from_secs(1)).min(ttl / 3);
        Self { term, kill: (term / 4).min(Duration::from_millis(500)) }
    }
}

/// How a command ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// By itself, or by a signal (128 + its number).
    Exited(u8),
    /// It was ended, because the lock was lost or about to be.
    Lost(String),
}

/// Runs the command to its end. Nothing of its process group is left afterwards.
pub(super) async fn supervise(
    mut child: Child,
    guard: &Guard,
    margins: Margins,
    signals: &mut Signals,
) -> Result<Ending, Failure> {
    let group = child.id().and_then(Group::led_by).ok_or_else(|| Failure::internal("the command has no process id"))?;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            signal = signals.next() => group.signal(signal),
            () = guard.left_at_most(margins.term) => return Ok(Ending::Lost(stop(child, group, guard, margins).await)),
        }
    };
    group.end(LEFTOVER_GRACE).await;
    match status {
        Ok(status) => Ok(Ending::Exited(exit_code(status))),
        Err(error) => Err(Failure::internal(format!("the command cannot be waited for: {error}"))),
    }
}

/// TERM, then KILL in time; says why.
async fn stop(mut child: Child, group: Group, guard: &Guard, margins: Margins) -> String {
    let gone = |loss: Option<Loss>| loss.map(|loss| loss.to_string());
    let why = gone(guard.loss());
    let told = why.clone().unwrap_or_else(|| "its lease runs out and cannot be renewed".to_owned());
    note(&format!("leasehold: {} is being lost: {told}; ending the command", guard.name()));
    group.signal(Signal::TERM);
    tokio::select! {
        // That it cannot be waited for is no reason not to kill it.
        _ = child.wait() => {}
        () = kill_time(guard, margins) => {}
    }
    // Descendants, too. For the command itself this comes too late to matter if it has ended.
    group.signal(Signal::KILL);
    let _ = child.wait().await;
    told
}

/// When the command must be killed: a little before the lease ends, at once if it has, soon if the cluster said so.
async fn kill_time(guard: &Guard, margins: Margins) {
    match guard.loss() {
        None => {
            guard.left_at_most(margins.kill).await;
        }
        Some(Loss::Expired) => {}
        Some(Loss::Ended { .. } | Loss::Closed) => sleep(GONE_GRACE).await,
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn margins_leave_room_for_renewals_and_for_ending() {
        let margins = |ms| {
            let Margins { term, kill } = Margins::of(Duration::from_millis(ms));
            (term.as_millis(), kill.as_millis())
        };
        assert_eq!(margins(30_000), (5_000, 500));
        assert_eq!(margins(3_000), (1_000, 250));
        assert_eq!(margins(900), (300, 75));
    }

    #[test]
    fn exit_codes_are_the_shells() {
        assert_eq!(exit_code(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(exit_code(ExitStatus::from_raw(15)), 143);
    }
}
