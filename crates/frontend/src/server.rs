//! The gRPC server of the client port, with bounds where tonic has none by default.

use std::sync::Arc;
use std::time::Duration;

use leasehold_consensus::Readiness;
use leasehold_proto::dapr::dapr_server::DaprServer;
use leasehold_proto::v1::cluster_service_server::ClusterServiceServer;
use leasehold_proto::v1::lock_service_server::LockServiceServer;
use leasehold_proto::{DAPR_FILE_DESCRIPTOR_SET, FILE_DESCRIPTOR_SET};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::calls::Calls;
use crate::cluster_service::Cluster;
use crate::gate::Gate;
use crate::lock_service::Locks;
use crate::{FrontendError, dapr};

/// A request of a client; answers may be longer.
const REQUEST_BYTES_MAX: usize = 1 << 20;
const RESPONSE_BYTES_MAX: usize = 4 << 20;
const STREAMS_PER_CONNECTION_MAX: u32 = 1_024;
const PENDING_RESETS_MAX: usize = 64;
const LOCAL_RESETS_MAX: usize = 256;
const HEADER_BYTES_MAX: u32 = 16 * 1024;
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// So much longer than a call may take does tonic wait for it.
const CALL_GRACE: Duration = Duration::from_secs(5);

/// The services whose health is told; "" is the node as a whole.
const HEALTH_SERVICES: [&str; 4] =
    ["", "leasehold.v1.LockService", "leasehold.v1.ClusterService", "dapr.proto.runtime.v1.Dapr"];

/// All services of the client port.
pub(crate) fn router(
    calls: Arc<Calls>,
    cluster: Cluster,
    dapr: dapr::Service,
    health: &HealthReporter,
    stop: CancellationToken,
) -> Result<Router, FrontendError> {
    let call_max = calls.options().call_max;
    let locks = LockServiceServer::new(Locks::new(calls, stop))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(RESPONSE_BYTES_MAX);
    let cluster = ClusterServiceServer::new(cluster).max_decoding_message_size(REQUEST_BYTES_MAX);
    let dapr = DaprServer::new(dapr).max_decoding_message_size(REQUEST_BYTES_MAX);
    let reflection = || reflection().register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET);
    Ok(bounded(call_max)
        .add_service(locks)
        .add_service(cluster)
        .add_service(dapr)
        .add_service(health_service(health))
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?))
}

/// The services of a port that is Dapr's alone.
pub(crate) fn dapr_router(
    service: dapr::Service,
    locks: &dapr::Locks,
    health: &HealthReporter,
) -> Result<Router, FrontendError> {
    Ok(bounded(locks.calls().options().call_max)
        .add_service(DaprServer::new(service).max_decoding_message_size(REQUEST_BYTES_MAX))
        .add_service(health_service(health))
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?))
}

fn bounded(call_max: Duration) -> Server {
    Server::builder()
        .timeout(call_max + CALL_GRACE)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        .http2_max_local_error_reset_streams(Some(LOCAL_RESETS_MAX))
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
}

fn health_service(health: &HealthReporter) -> HealthServer<HealthService> {
    HealthServer::new(HealthService::from_health_reporter(health.clone()))
}

/// Tells of what every gRPC port serves.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DAPR_FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Tells health what the gate says, until the gate ends.
pub(crate) async fn follow_health(health: HealthReporter, mut gate: Gate) {
    loop {
        let status = match gate.readiness() {
            Readiness::Ready => ServingStatus::Serving,
            Readiness::NotReady(_) => ServingStatus::NotServing,
        };
        for service in HEALTH_SERVICES {
            health.set_service_status(service, status).await;
        }
        if !gate.changed().await {
            return;
        }
    }
}
