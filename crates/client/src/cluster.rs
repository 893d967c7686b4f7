//! What a cluster says of itself.

use leasehold_proto::v1::StatusResponse;

use crate::error::Error;
use crate::options::ClientOptions;
use crate::transport;

/// The state of the cluster, from the first endpoint that knows a leader, else from any that answers.
pub async fn cluster_status(options: &ClientOptions) -> Result<StatusResponse, Error> {
    options.validate()?;
    let mut leaderless = None;
    let mut problems = Vec::new();
    for address in &options.endpoints {
        match transport::cluster_status(address, options.connect_timeout).await {
            Ok(status) if status.leader.is_some() => return Ok(status),
            Ok(status) => leaderless = Some(status),
            Err(problem) => problems.push(format!("{address}: {problem}")),
        }
    }
    leaderless.ok_or_else(|| Error::Unavailable { message: problems.join("; ") })
}
