//! Watches: where one begins.

use leasehold_proto::v1;
use leasehold_state_machine::Revision;
use tokio::time::timeout_at;

use super::read::revision;
use super::{CallTime, Calls};
use crate::watch::Watcher;
use crate::{CallError, validate};

impl Calls {
    /// Begins a watch. `time` bounds the begin only.
    pub(crate) async fn watch(&self, message: v1::WatchRequest, time: CallTime) -> Result<Watcher, CallError> {
        self.open()?;
        let (filter, after) = validate::watch(message, |namespace| self.limits(namespace))?;
        // Before it is known from where on: what happens meanwhile is not missed.
        let mut watcher = Watcher::enter(&self.hub, filter, self.options.watch_progress)?;
        let after = match after {
            Some(after) => {
                self.applied_at_least(after, time).await?;
                after
            }
            None => {
                self.node.read_barrier(time.deadline()).await?;
                Revision { index: revision(&self.node.state()), ordinal: u32::MAX }
            }
        };
        watcher.begin_after(after).await?;
        Ok(watcher)
    }

    /// Waits until this node has applied the entry of a revision that another one told.
    async fn applied_at_least(&self, after: Revision, time: CallTime) -> Result<(), CallError> {
        let mut applied = self.node.applied();
        let reached = timeout_at(time.deadline(), applied.wait_for(|applied| *applied >= after.index)).await;
        if reached.is_ok_and(|reached| reached.is_ok()) {
            return Ok(());
        }
        let applied = *self.node.applied().borrow();
        Err(CallError::RevisionAhead { revision: after, applied })
    }
}
