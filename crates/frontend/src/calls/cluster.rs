//! The cluster as a whole.

use leasehold_proto::v1;

use super::{CallTime, Calls};
use crate::{CallError, convert};

impl Calls {
    /// What the members say of themselves. Never fails: what a node doesn't know it leaves out.
    pub(crate) async fn cluster_status(&self) -> v1::StatusResponse {
        convert::cluster_status(self.node.status().await)
    }

    /// Raises the format level, if all members can follow.
    pub(crate) async fn raise_level(
        &self,
        message: v1::RaiseLevelRequest,
        time: CallTime,
    ) -> Result<v1::RaiseLevelResponse, CallError> {
        self.open()?;
        let level = (message.level != 0).then_some(message.level);
        Ok(convert::raised(self.node.raise_level(level, time.deadline()).await?))
    }
}
