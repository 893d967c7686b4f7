//! The part of the node that background tasks need, so that their tests do without one.

use leasehold_consensus::{Node, SubmitError};
use leasehold_state_machine::{Operation, Outcome};
use tokio::time::Instant;

/// Submits operations.
pub(crate) trait Submit: Clone + Send + Sync + 'static {
    /// See [`Node::submit`].
    fn submit(
        &self,
        operation: Operation,
        deadline: Instant,
    ) -> impl Future<Output = Result<Outcome, SubmitError>> + Send;
}

impl Submit for Node {
    async fn submit(&self, operation: Operation, deadline: Instant) -> Result<Outcome, SubmitError> {
        Self::submit(self, operation, deadline).await
    }
}
