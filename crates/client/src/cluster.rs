//! What a cluster says of itself.

use leasehold_proto::v1::{RaiseLevelResponse, StatusResponse};
use tonic::Code;

use crate::error::Error;
use crate::options::ClientOptions;
use crate::transport;

/// The state of the cluster, from the first endpoint that knows a leader, else from any that answers.
pub async fn cluster_status(options: &ClientOptions) -> Result<StatusResponse, Error> {
    options.validate()?;
    let mut leaderless = None;
    let mut problems = Vec::new();
    for address in &options.endpoints {
        match transport::cluster_status(&options.dialer, address, options.connect_timeout).await {
            Ok(status) if status.leader.is_some() => return Ok(status),
            Ok(status) => leaderless = Some(status),
            Err(problem) => problems.push(format!("{address}: {problem}")),
        }
    }
    leaderless.ok_or_else(|| Error::Unavailable { message: problems.join("; ") })
}

/// Raises the cluster's format level to `level`, or as high as all members go. Refused where a member does not support it or
/// cannot be asked. The endpoints are asked one after the other, until one answers.
pub async fn raise_level(options: &ClientOptions, level: Option<u32>) -> Result<RaiseLevelResponse, Error> {
    options.validate()?;
    let mut problems = Vec::new();
    let mut in_doubt = false;
    for address in &options.endpoints {
        let bounds = (options.connect_timeout, options.call_timeout);
        let status = match transport::raise_level(&options.dialer, address, bounds, level).await {
            Ok(response) => return Ok(response),
            Err(status) => status,
        };
        let message = status.message().to_owned();
        match status.code() {
            Code::Unavailable => {}
            Code::DeadlineExceeded | Code::Unknown | Code::Cancelled | Code::Aborted => in_doubt = true,
            Code::InvalidArgument | Code::OutOfRange => {
                return Err(Error::InvalidArgument { field: "level".to_owned(), message });
            }
            Code::FailedPrecondition | Code::PermissionDenied | Code::Unauthenticated | Code::ResourceExhausted => {
                let reason = format!("{:?}", status.code());
                return Err(Error::Refused { reason, message, over_limit: status.code() == Code::ResourceExhausted });
            }
            Code::Ok | Code::NotFound | Code::AlreadyExists | Code::Unimplemented | Code::Internal | Code::DataLoss => {
                return Err(Error::Server { message });
            }
        }
        problems.push(format!("{address}: {message}"));
    }
    Err(Error::out_of_time(in_doubt, problems.join("; ")))
}
