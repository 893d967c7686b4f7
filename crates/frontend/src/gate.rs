//! Whether this node takes calls, looked at often by one task and cheaply by every call.

use std::time::Duration;

use leasehold_consensus::{Node, Readiness};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::CallError;

/// How often readiness is looked at.
const INTERVAL: Duration = Duration::from_millis(100);
/// Looks in a row that must find the node behind before it refuses calls: a new leader needs a moment.
const LOOKS_TO_CLOSE: u32 = 5;

/// What calls, health and HTTP know about the node. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Gate(watch::Receiver<View>);

/// The last look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    /// What health and `/readyz` tell.
    pub(crate) readiness: Readiness,
    /// Why calls are refused. With no leader known they are not: the node holds them for a bounded time.
    closed: Option<Closed>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Closed {
    Behind(String),
    Stopping,
}

/// The side that looks.
pub(crate) struct Watchman {
    sender: watch::Sender<View>,
    behind: u32,
}

impl Watchman {
    pub(crate) fn new() -> Self {
        let view = View { readiness: Readiness::NotReady("starting".into()), closed: None };
        Self { sender: watch::Sender::new(view), behind: 0 }
    }

    pub(crate) fn gate(&self) -> Gate {
        Gate(self.sender.subscribe())
    }

    /// Looks at the node until `stop`; from then on the gate is closed.
    pub(crate) async fn run(mut self, node: Node, stop: CancellationToken) {
        let leader = node.leader();
        loop {
            let has_leader = leader.borrow().is_some();
            self.look(node.readiness(), has_leader);
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
        self.set(View { readiness: Readiness::NotReady("stopping".into()), closed: Some(Closed::Stopping) });
        // Whoever follows the gate ends with it.
    }

    fn look(&mut self, readiness: Readiness, has_leader: bool) {
        let why = match &readiness {
            Readiness::NotReady(why) if has_leader => Some(why.clone()),
            Readiness::NotReady(_) | Readiness::Ready => None,
        };
        self.behind = if why.is_some() { self.behind.saturating_add(1) } else { 0 };
        let closed = why.filter(|_| self.behind >= LOOKS_TO_CLOSE).map(Closed::Behind);
        self.set(View { readiness, closed });
    }

    fn set(&self, view: View) {
        self.sender.send_if_modified(|current| {
            let modified = *current != view;
            *current = view;
            modified
        });
    }
}

impl Gate {
    /// Refuses while the node is too far behind to take calls.
    pub(crate) fn check(&self) -> Result<(), CallError> {
        match &self.0.borrow().closed {
            None => Ok(()),
            Some(Closed::Behind(why)) => Err(CallError::NotReady { why: why.clone() }),
            Some(Closed::Stopping) => Err(CallError::Stopping),
        }
    }

    /// The last look.
    pub(crate) fn readiness(&self) -> Readiness {
        self.0.borrow().readiness.clone()
    }

    /// Waits for the next change; false when there will be none.
    pub(crate) async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind() -> Readiness {
        Readiness::NotReady("apply is 900 entries behind".into())
    }

    #[test]
    fn calls_pass_without_leader_and_are_refused_far_behind() {
        let mut watchman = Watchman::new();
        let gate = watchman.gate();
        for _ in 0..20 {
            watchman.look(Readiness::NotReady("no leader".into()), false);
        }
        assert_eq!(gate.check(), Ok(()));
        for _ in 0..LOOKS_TO_CLOSE {
            assert_eq!(gate.check(), Ok(()), "a moment behind a new leader is no reason");
            watchman.look(behind(), true);
        }
        assert!(matches!(gate.check(), Err(CallError::NotReady { .. })));
        watchman.look(Readiness::Ready, true);
        assert_eq!(gate.check(), Ok(()));
        assert_eq!(gate.readiness(), Readiness::Ready);
    }
}
