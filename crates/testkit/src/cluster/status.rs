//! Asks nodes how they are, and waits for conditions.

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, bail};
use leasehold_proto::v1::cluster_service_client::ClusterServiceClient;
use leasehold_proto::v1::{StatusRequest, StatusResponse};
use tonic::transport::Endpoint;

use crate::clock::Moment;

/// How long a node has to answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Asks for the cluster's state.
#[derive(Debug)]
pub struct StatusClient;

impl StatusClient {
    /// What the node at `address` says; None when it doesn't answer.
    pub async fn ask(address: &str) -> Option<StatusResponse> {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
        let channel = endpoint.connect_timeout(ANSWER_MAX).timeout(ANSWER_MAX).connect().await.ok()?;
        let answer = ClusterServiceClient::new(channel).status(StatusRequest {}).await.ok()?;
        Some(answer.into_inner())
    }
}

/// Looks until the condition holds, at most `patience` long.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    patience: Duration,
    condition: &str,
    mut look: impl FnMut() -> F,
) -> Result<T> {
    let start = Moment::now();
    loop {
        if let Some(value) = look().await {
            return Ok(value);
        }
        if start.elapsed() > patience {
            bail!("not within {patience:?}: {condition}");
        }
        pause().await;
    }
}

/// Between two looks.
pub(super) async fn pause() {
    tokio::time::sleep(LOOK_EVERY).await;
}
