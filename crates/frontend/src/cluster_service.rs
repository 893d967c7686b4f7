//! What a cluster says of itself.

use std::sync::Arc;

use leasehold_proto::v1;
use leasehold_proto::v1::cluster_service_server::ClusterService;
use tonic::{Request, Response, Status};

use crate::calls::{CallTime, Calls};
use crate::status;

/// The `leasehold.v1.ClusterService` of one node.
pub(crate) struct Cluster {
    calls: Arc<Calls>,
}

impl Cluster {
    pub(crate) fn new(calls: Arc<Calls>) -> Self {
        Self { calls }
    }
}

#[tonic::async_trait]
impl ClusterService for Cluster {
    async fn status(&self, _request: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        Ok(Response::new(self.calls.cluster_status().await))
    }

    async fn raise_level(
        &self,
        request: Request<v1::RaiseLevelRequest>,
    ) -> Result<Response<v1::RaiseLevelResponse>, Status> {
        let time = CallTime::of_unary(request.metadata(), self.calls.options());
        let raised = self.calls.raise_level(request.into_inner(), time).await;
        raised.map(Response::new).map_err(|error| status::status(&error))
    }
}
