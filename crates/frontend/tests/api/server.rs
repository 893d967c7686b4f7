//! A node with its frontend on free ports of loopback.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use leasehold_consensus::clock::Clock;
use leasehold_consensus::media::Media;
use leasehold_consensus::{Node, NodeOptions, Readiness, Tuning, runtime};
use leasehold_frontend::{DaprAddresses, DaprListeners, Frontend, FrontendError, FrontendOptions, Listeners};
use leasehold_platform::net::Dialer;
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
    /// Ports for Dapr alone.
    #[allow(dead_code, reason = "for the suite of that door")]
    pub(crate) dapr: Vec<DaprAddresses>,
    #[allow(dead_code, reason = "for the suite of that door")]
    pub(crate) redis: SocketAddr,
    pub(crate) stop: CancellationToken,
    frontend: JoinHandle<Result<(), FrontendError>>,
    folder: Arc<TempDir>,
}

/// How a server of a test is started.
pub(crate) struct Setup {
    pub(crate) options: FrontendOptions,
    pub(crate) tuning: Tuning,
    pub(crate) level_max: u32,
    /// Members beside node 1.
    pub(crate) others: &'static [(u64, &'static str)],
    /// Its data lies in `node` in this folder.
    pub(crate) folder: Arc<TempDir>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            options: FrontendOptions::default(),
            tuning: Tuning::default(),
            level_max: LEVEL_MAX,
            others: &[],
            folder: Arc::new(tempfile::tempdir().unwrap()),
        }
    }
}

impl Setup {
    /// Launches it, and waits until it is ready.
    pub(crate) async fn start(self) -> Server {
        let server = self.launch().await;
        eventually("ready", || server.node.readiness() == Readiness::Ready).await;
        server
    }

    async fn launch(self) -> Server {
        let bind = || TcpListener::bind("127.0.0.1:0");
        let (listener, peer_listener) = (bind().await.unwrap(), bind().await.unwrap());
        let (http_listener, redis_listener) = (bind().await.unwrap(), bind().await.unwrap());
        let address = |listener: &TcpListener| listener.local_addr().unwrap();
        let (client, peer, http) = (address(&listener), address(&peer_listener), address(&http_listener));
        let redis = address(&redis_listener);
        let mut peers: BTreeMap<u64, String> = self.others.iter().map(|(id, at)| (*id, (*at).to_owned())).collect();
        peers.insert(1, peer.to_string());
        let node_options = NodeOptions {
            node_id: 1,
            data_dir: self.folder.path().join("node"),
            peer_address: peer.to_string(),
            client_address: client.to_string(),
            peers,
            bootstrap: true,
            level_max: self.level_max,
            tuning: self.tuning,
            clock: Clock::system(),
            media: Media::files(),
            dialer: Dialer::tcp(),
        };
        std::fs::create_dir_all(&node_options.data_dir).unwrap();
        let dapr = DaprListeners::bind(&self.options.dapr.listeners).await.unwrap();
        let dapr_addresses = dapr.addresses().unwrap();
        let frontend = Frontend::new(self.options).unwrap();
        let node = Node::start(node_options, peer_listener, frontend.observer()).await.unwrap();
        let stop = CancellationToken::new();
        let listeners =
            Listeners { grpc: listener.into(), http: http_listener.into(), dapr, redis: Some(redis_listener) };
        let frontend = tokio::spawn(frontend.run(listeners, node.clone(), stop.clone()));
        Server { node, client, peer, http, dapr: dapr_addresses, redis, stop, frontend, folder: self.folder }
    }
}

impl Server {
    /// A cluster of one that is ready.
    pub(crate) async fn start() -> Self {
        Setup::default().start().await
    }

    pub(crate) async fn start_with(options: FrontendOptions) -> Self {
        Setup { options, ..Setup::default() }.start().await
    }

    /// A node that waits for another one to form a cluster, in vain.
    pub(crate) async fn start_without_quorum(options: FrontendOptions) -> Self {
        Setup { options, others: &[(2, "127.0.0.1:1")], ..Setup::default() }.launch().await
    }

    /// Stops all of it; its folder.
    pub(crate) async fn shut_down(mut self) -> Arc<TempDir> {
        self.stop_frontend().await;
        self.node.shutdown().await;
        self.folder
    }

    /// What its disk holds now, as a power cut would leave it: the log is synced, the checkpoint is what it is.
    pub(crate) fn folder_as_it_is(&self) -> Arc<TempDir> {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(&self.folder.path().join("node"), &copy.path().join("node"));
        Arc::new(copy)
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

    pub(crate) async fn open_session(&self, number: u64) {
        self.locks().open_session(open_session(number)).await.unwrap();
    }

    /// Takes a lock at once.
    pub(crate) async fn take(&self, request: v1::AcquireRequest) -> v1::Grant {
        granted(self.locks().acquire(request).await.unwrap().into_inner()).grants[0].clone()
    }

    /// One lock, as its clients see it.
    pub(crate) async fn get(&self, name: &str) -> v1::LockInfo {
        let request = v1::GetRequest { name: name.into(), ..Default::default() };
        self.locks().get(request).await.unwrap().into_inner().lock.unwrap()
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

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
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

pub(crate) type Call = JoinHandle<Result<v1::AcquireResponse, Status>>;

/// A call that waits; returns once it stands in the queue.
pub(crate) async fn wait_for(server: &Server, request: v1::AcquireRequest) -> Call {
    let name = request.locks[0].name.clone();
    let before = server.queue_length(&name);
    let mut locks = server.locks();
    let call = runtime::spawn(async move { locks.acquire(request).await.map(tonic::Response::into_inner) });
    eventually("queued", || server.queue_length(&name) > before).await;
    call
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

/// The id of a session of a test, text as on the wire.
pub(crate) fn session_id(number: u64) -> String {
    format!("{:016x}{number:016x}", 0xC0FFEE_u64)
}

pub(crate) fn open_session(number: u64) -> v1::OpenSessionRequest {
    let owner = format!("session {number}");
    v1::OpenSessionRequest { session: session_id(number), ttl_ms: 60_000, owner, ..Default::default() }
}

/// Under a session of a test, with its owner.
pub(crate) fn under(session: u64, name: &str, mode: v1::Mode, wait_ms: Option<u64>) -> v1::AcquireRequest {
    v1::AcquireRequest {
        locks: vec![v1::LockRequest { name: name.into(), mode: mode.into(), ..Default::default() }],
        session: session_id(session),
        wait_ms,
        ..Default::default()
    }
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
