//! A process group: the command and what it started.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::time::{interval, timeout};

/// How often a group that was asked to end is looked at: the kernel tells nobody but the parents.
const LOOK_EVERY: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy)]
pub(super) struct Group(Pid);

impl Group {
    /// The group that `leader` leads.
    pub(super) fn led_by(leader: u32) -> Option<Self> {
        Pid::from_raw(i32::try_from(leader).ok()?).map(Self)
    }

    /// To every process of the group. One that has no processes any more hears nothing.
    pub(super) fn signal(self, signal: Signal) {
        let _ = kill_process_group(self.0, signal);
    }

    fn exists(self) -> bool {
        test_kill_process_group(self.0).is_ok()
    }

    /// Asks all processes to end, then makes them.
    pub(super) async fn end(self, grace: Duration) {
        if !self.exists() {
            return;
        }
        self.signal(Signal::TERM);
        let gone = async {
            let mut looks = interval(LOOK_EVERY);
            while self.exists() {
                looks.tick().await;
            }
        };
        if timeout(grace, gone).await.is_err() {
            self.signal(Signal::KILL);
        }
    }
}
