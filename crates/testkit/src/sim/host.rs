//! What runs on the simulated hosts: whole nodes, and clients at work.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use leasehold_client::{CancellationToken, ClientOptions};
use leasehold_consensus::{LEVEL_MAX, Node, NodeOptions, StopReason, Tuning};
use leasehold_frontend::{DaprListeners, Frontend, FrontendOptions, Listeners};

use super::clock::HostClock;
use super::disk::SimDisk;
use super::net;
use super::stage::Stage;
use crate::history::Recorder;
use crate::workload::{self, Wire, WorkloadOptions};

const CLIENT_PORT: u16 = 7400;
const PEER_PORT: u16 = 7401;
const HTTP_PORT: u16 = 7402;
/// Between two tries of a client to reach any node.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);

/// Name of a node's host.
pub(super) fn node_name(id: u64) -> String {
    format!("node-{id}")
}

/// Name of a client's host.
pub(super) fn client_name(number: u32) -> String {
    format!("client-{number}")
}

/// Where clients reach a node.
pub(super) fn endpoint(id: u64) -> String {
    format!("{}:{CLIENT_PORT}", node_name(id))
}

/// One node's part of a simulation.
#[derive(Clone)]
pub(super) struct NodeHost {
    pub(super) id: u64,
    pub(super) nodes: u64,
    pub(super) folder: PathBuf,
    pub(super) disk: SimDisk,
    pub(super) clock: HostClock,
    pub(super) tuning: Tuning,
    pub(super) stage: Stage,
}

/// Where a node keeps what is a plain file.
pub(super) fn data_dir(folder: &Path, id: u64) -> PathBuf {
    folder.join(node_name(id))
}

impl NodeHost {
    /// From start to stop.
    pub(super) async fn run(self) -> turmoil::Result {
        let (id, stage) = (self.id, self.stage.clone());
        if let Err(problem) = self.serve().await {
            stage.violation(format!("node {id} does not run: {problem}"));
        }
        stage.ended(id);
        Ok(())
    }

    async fn serve(self) -> Result<(), String> {
        let Self { id, nodes, folder, disk, clock, tuning, stage } = self;
        stage.note(format_args!("node {id} starts"));
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let address = |id| format!("{}:{PEER_PORT}", node_name(id));
        let options = NodeOptions {
            node_id: id,
            data_dir: data_dir(&folder, id),
            peer_address: address(id),
            client_address: endpoint(id),
            peers: (1..=nodes).map(|id| (id, address(id))).collect::<BTreeMap<_, _>>(),
            bootstrap: true,
            level_max: LEVEL_MAX,
            tuning,
            clock: clock.of_node(),
            media: disk.media(),
            dialer: net::dialer(),
        };
        let peers = net::listen(PEER_PORT).await.map_err(|error| text(&error))?;
        let listeners = Listeners {
            grpc: net::listen(CLIENT_PORT).await.map_err(|error| text(&error))?,
            http: net::listen(HTTP_PORT).await.map_err(|error| text(&error))?,
            dapr: DaprListeners::default(),
            redis: None,
        };
        let frontend = Frontend::new(FrontendOptions::default()).map_err(|error| text(&error))?;
        let observer = stage.observe(id, frontend.observer());
        let node = Node::start(options, peers, observer).await.map_err(|error| text(&error))?;
        stage.started(id, node.clone());
        let stop = CancellationToken::new();
        let serving = frontend.run(listeners, node.clone(), stop.clone());
        let reason = tokio::select! {
            served = serving => return Err(format!("the frontend ended: {served:?}")),
            reason = node.stopped() => reason,
        };
        stage.note(format_args!("node {id} stops: {reason:?}"));
        match reason {
            StopReason::Shutdown => Ok(()),
            // A node whose disk fails has to stop.
            StopReason::Fatal(why) if why.contains("EIO") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }
}

/// One client's part of a simulation.
#[derive(Clone)]
pub(super) struct ClientHost {
    pub(super) number: u32,
    pub(super) endpoints: Vec<String>,
    pub(super) clock: HostClock,
    pub(super) workload: WorkloadOptions,
    pub(super) recorder: Recorder,
    pub(super) stop: CancellationToken,
    pub(super) stage: Stage,
}

impl ClientHost {
    /// From connect to the end of the workload, recording into `wire`.
    pub(super) async fn run(self, worker: u32, wire: Arc<Wire>) -> turmoil::Result {
        self.stage.note(format_args!("client {} starts as worker {worker}", self.number));
        while !self.stop.is_cancelled() {
            let mut options = ClientOptions::new(self.endpoints.iter().cloned());
            options.clock = self.clock.of_client();
            options.dialer = net::dialer();
            options.connect_timeout = Duration::from_secs(1);
            options.call_timeout = Duration::from_secs(5);
            let records = (Arc::clone(&wire), self.recorder.clone());
            match workload::work(worker, options, &self.workload, records, self.stop.clone()).await {
                Ok(()) => break,
                Err(error) => self.stage.note(format_args!("client {}: {error}", self.number)),
            }
            tokio::time::sleep(CONNECT_PAUSE).await;
        }
        self.stage.note(format_args!("client {} is done", self.number));
        Ok(())
    }
}
