//! What a cluster says of itself.

use leasehold_consensus::Node;
use leasehold_proto::v1;
use leasehold_proto::v1::cluster_service_server::ClusterService;
use tonic::{Request, Response, Status};

use crate::convert;

/// The `leasehold.v1.ClusterService` of one node. Its only call never fails: what a node doesn't know it leaves out.
pub(crate) struct Cluster {
    node: Node,
}

impl Cluster {
    pub(crate) fn new(node: Node) -> Self {
        Self { node }
    }
}

#[tonic::async_trait]
impl ClusterService for Cluster {
    async fn status(&self, _request: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        Ok(Response::new(convert::cluster_status(self.node.status().await)))
    }
}
