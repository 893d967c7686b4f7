//! The gRPC server of the client port, with bounds where tonic has none by default.

use std::sync::Arc;
use std::time::Duration;

use leasehold_consensus::Readiness;
use leasehold_proto::FILE_DESCRIPTOR_SET;
use leasehold_proto::v1::cluster_service_server::ClusterServiceServer;
use leasehold_proto::v1::lock_service_server::LockServiceServer;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::FrontendError;
use crate::calls::Calls;
use crate::cluster_service::Cluster;
use crate::gate::Gate;
use crate::lock_service::Locks;

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
const HEALTH_SERVICES: [&str; 3] = ["", "leasehold.v1.LockService", "leasehold.v1.ClusterService"];

/// All services of the client port.
pub(crate) fn router(
    calls: Arc<Calls>,
    cluster: Cluster,
    health: &HealthReporter,
    stop: CancellationToken,
) -> Result<Router, FrontendError> {
    let call_max = calls.options().call_max;
    let locks = LockServiceServer::new(Locks::new(calls, stop))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(RESPONSE_BYTES_MAX);
    let cluster = ClusterServiceServer::new(cluster).max_decoding_message_size(REQUEST_BYTES_MAX);
    let health = tonic_health::pb::health_server::HealthServer::new(
        tonic_health::server::HealthService::from_health_reporter(health.clone()),
    );
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(Server::builder()
        .timeout(call_max + CALL_GRACE)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
        .http2_max_local_error_reset_streams(Some(LOCAL_RESETS_MAX))
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .add_service(locks)
        .add_service(cluster)
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?))
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
