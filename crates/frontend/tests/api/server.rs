//! A node with its frontend on free ports of loopback.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use leasehold_consensus::clock::Clock;
use leasehold_consensus::{Node, NodeOptions, Readiness, Tuning};
use leasehold_frontend::{Frontend, FrontendError, FrontendOptions};
use leasehold_proto::v1;
use leasehold_proto::v1::lock_service_client::LockServiceClient;
use leasehold_state_machine::LEVEL_MAX;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// By when anything that is waited for must be there.
const SOON: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    pub(crate) node: Node,
    pub(crate) client: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) stop: CancellationToken,
    frontend: JoinHandle<Result<(), FrontendError>>,
    _folder: TempDir,
}

impl Server {
    /// A cluster of one that is ready.
    pub(crate) async fn start() -> Self {
        Self::start_with(FrontendOptions::default()).await
    }

    pub(crate) async fn start_with(options: FrontendOptions) -> Self {
        let server = Self::launch(options, &[]).await;
        eventually("ready", || server.node.readiness() == Readiness::Ready).await;
        server
    }

    /// A node that waits for another one to form a cluster, in vain.
    pub(crate) async fn start_without_quorum(options: FrontendOptions) -> Self {
        Self::launch(options, &[(2, "127.0.0.1:1")]).await
    }

    async fn launch(options: FrontendOptions, others: &[(u64, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bind = || TcpListener::bind("127.0.0.1:0");
        let (listener, peer_listener, http_listener) =
            (bind().await.unwrap(), bind().await.unwrap(), bind().await.unwrap());
        let address = |listener: &TcpListener| listener.local_addr().unwrap();
        let (client, peer, http) = (address(&listener), address(&peer_listener), address(&http_listener));
        let mut peers: BTreeMap<u64, String> = others.iter().map(|(id, at)| (*id, (*at).to_owned())).collect();
        peers.insert(1, peer.to_string());
        let node_options = NodeOptions {
            node_id: 1,
            data_dir: folder.path().join("node"),
            peer_address: peer.to_string(),
            client_address: client.to_string(),
            peers,
            bootstrap: true,
            level_max: LEVEL_MAX,
            tuning: Tuning::default(),
            clock: Clock::system(),
        };
        std::fs::create_dir_all(&node_options.data_dir).unwrap();
        let frontend = Frontend::new(options).unwrap();
        let node = Node::start(node_options, peer_listener, frontend.observer()).await.unwrap();
        let stop = CancellationToken::new();
        let frontend = tokio::spawn(frontend.run(listener, http_listener, node.clone(), stop.clone()));
        Self { node, client, peer, http, stop, frontend, _folder: folder }
    }

    pub(crate) fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.client)).unwrap().connect_lazy()
    }

    pub(crate) fn locks(&self) -> LockServiceClient<Channel> {
        LockServiceClient::new(self.channel())
    }

    /// Who waits for a lock, as this node has applied it.
    pub(crate) fn queue_length(&self, name: &str) -> usize {
        self.node.state().waiter_count("default", name)
    }

    /// Holds a lock for a minute; its grant and lease.
    pub(crate) async fn hold(&self, name: &str) -> (v1::Grant, String) {
        let held = self.locks().acquire(acquire(name, None)).await.unwrap().into_inner();
        let granted = granted(held);
        (granted.grants[0].clone(), granted.lease)
    }

    pub(crate) async fn release(&self, name: &str, token: u64) {
        assert!(self.locks().release(release(name, token)).await.unwrap().into_inner().released);
    }

    /// Stops the frontend only.
    pub(crate) async fn stop_frontend(&mut self) {
        self.stop.cancel();
        tokio::time::timeout(SOON, &mut self.frontend).await.expect("stops in time").unwrap().unwrap();
    }
}

/// Polls until `condition` holds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(SOON, wait).await.is_ok(), "not in time: {what}");
}

/// Bounds a test's wait.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(SOON, future).await.expect("in time")
}

pub(crate) fn acquire(name: &str, wait_ms: Option<u64>) -> v1::AcquireRequest {
    v1::AcquireRequest {
        locks: vec![v1::LockRequest { name: name.into(), ..Default::default() }],
        owner: "tester".into(),
        ttl_ms: 60_000,
        wait_ms,
        ..Default::default()
    }
}

pub(crate) fn release(name: &str, token: u64) -> v1::ReleaseRequest {
    v1::ReleaseRequest { name: name.into(), token, ..Default::default() }
}

pub(crate) fn renewal(leases: Vec<v1::RenewLease>) -> v1::RenewRequest {
    v1::RenewRequest { leases, ..Default::default() }
}

pub(crate) fn request_id(counter: u64) -> Option<v1::RequestId> {
    Some(v1::RequestId { client: 0xC1, counter })
}

pub(crate) fn granted(response: v1::AcquireResponse) -> v1::Granted {
    match response.result {
        Some(v1::acquire_response::Result::Granted(granted)) => granted,
        other => panic!("not granted: {other:?}"),
    }
}

/// Code and reason of a failed call.
pub(crate) fn verdict<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.expect_err("the call fails");
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "leasehold");
    (status.code(), info.reason)
}

/// The field that an INVALID_ARGUMENT names.
pub(crate) fn bad_field<T: std::fmt::Debug>(result: Result<T, Status>) -> String {
    let status = result.expect_err("the call fails");
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    status.get_details_bad_request().expect("a BadRequest").field_violations[0].field.clone()
}
