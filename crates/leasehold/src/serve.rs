//! Runs one node of a cluster.

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use leasehold_consensus::{Node, StartError, StopReason, runtime};
use leasehold_frontend::{DaprAddresses, DaprListeners, Frontend, FrontendError};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::field::display;
use tracing::{error, info, warn};

use crate::config::{self, Settings};
use crate::exit::{Exit, Failure, report};
use crate::logging;

pub(crate) use crate::config::ServeArgs;

/// What is logged unless `LEASEHOLD_LOG` says otherwise.
const LOG_DEFAULT: &str = "info,openraft=warn,chunked_wal=warn,raft_log=warn";
/// A node that has not stopped after so long is left behind: the process ends.
const STOP_MAX: Duration = Duration::from_secs(10);
/// A process that is still there so long after its node was to stop is ended: a disk that hangs keeps threads, and timers with them.
const END_MAX: Duration = STOP_MAX.saturating_add(Duration::from_secs(2));

/// `leasehold serve`. Exits 0 when told to stop by SIGTERM or SIGINT; 64 for a bad setting, or an address or folder that
/// cannot be used; 65 when the cluster knows this node id by another data folder, or has a higher
/// format level than this node supports; 70 when the node fails.
pub(crate) async fn run(args: ServeArgs) -> ExitCode {
    report(serve(args).await)
}

async fn serve(args: ServeArgs) -> Result<Exit, Failure> {
    let settings = Settings::load(args).map_err(|error| Failure::usage(error.to_string()))?;
    logging::init(settings.log_format, LOG_DEFAULT).map_err(Failure::usage)?;
    #[cfg(feature = "failpoints")]
    leasehold_failpoints::registry::arm_from_environment().map_err(|error| Failure::usage(error.to_string()))?;
    std::fs::create_dir_all(&settings.node.data_dir).map_err(|error| {
        Failure::usage(format!("data-dir: {} cannot be used: {error}", settings.node.data_dir.display()))
    })?;
    let listeners = Listeners {
        client: bind("listen", &settings.listen).await?,
        peer: bind("peer-listen", &settings.peer_listen).await?,
        http: bind("http-listen", &settings.http_listen).await?,
        dapr: DaprListeners::bind(&settings.frontend.dapr.listeners)
            .await
            .map_err(|error| Failure::usage(error.to_string()))?,
        redis: match &settings.redis_listen {
            Some(address) => Some(bind("redis-listen", address).await?),
            None => None,
        },
    };
    let mut running = Running::start(settings, listeners).await?;
    running.until_stopped().await
}

/// Ports that are ours already.
pub(crate) struct Listeners {
    pub(crate) client: TcpListener,
    pub(crate) peer: TcpListener,
    pub(crate) http: TcpListener,
    pub(crate) dapr: DaprListeners,
    pub(crate) redis: Option<TcpListener>,
}

/// Takes a port, or says who cannot have it.
pub(crate) async fn bind(field: &str, address: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Failure::usage(format!("{field}: cannot listen on {address}: {error}")))
}

/// A node with its frontend.
pub(crate) struct Running {
    pub(crate) node: Node,
    frontend: tokio::task::JoinHandle<Result<(), FrontendError>>,
    stop: CancellationToken,
}

impl Running {
    /// Starts both on bound ports.
    pub(crate) async fn start(settings: Settings, listeners: Listeners) -> Result<Self, Failure> {
        let Settings { mut node, frontend, .. } = settings;
        let client = local_address(&listeners.client)?;
        if node.client_address.is_empty() {
            node.client_address = config::client_address(client, &node.peer_address);
        }
        let peer = local_address(&listeners.peer)?;
        let http = local_address(&listeners.http)?;
        let dapr = listeners.dapr.addresses().map_err(unknown_address)?;
        let redis = listeners.redis.as_ref().map(local_address).transpose()?;
        let served = leasehold_frontend::Listeners {
            grpc: listeners.client.into(),
            http: listeners.http.into(),
            dapr: listeners.dapr,
            redis: listeners.redis,
        };
        let (node_id, data_dir) = (node.node_id, node.data_dir.clone());
        let frontend = Frontend::new(frontend).map_err(|error| Failure::usage(error.to_string()))?;
        // Signals that come while the node replays its log are not lost.
        let stop = CancellationToken::new();
        stop_on_signals(&stop)?;
        let node =
            Node::start(node, listeners.peer, frontend.observer()).await.map_err(|error| start_failure(&error))?;
        let redis = redis.map(display);
        info!(node_id, %client, %peer, %http, redis, data_dir = %data_dir.display(), "node started");
        for DaprAddresses { grpc, http, app_id } in dapr {
            info!(grpc = grpc.map(display), http = http.map(display), app_id, "serves Dapr alone");
        }
        let frontend = runtime::spawn(frontend.run(served, node.clone(), stop.clone()));
        Ok(Self { node, frontend, stop })
    }

    /// Serves until a signal, or until something fails. Then stops what still runs, within a bound.
    pub(crate) async fn until_stopped(&mut self) -> Result<Exit, Failure> {
        let ended = tokio::select! {
            reason = self.node.stopped() => stop_result(reason),
            served = &mut self.frontend => served
                .context("the frontend failed")
                .and_then(|ended| ended.map_err(Into::into))
                .map_err(|error| Failure::internal(format!("{error:#}"))),
        };
        if let Err(failure) = &ended {
            error!(error = failure.message, "stopping");
        }
        end_by_force_after(END_MAX);
        self.stop.cancel();
        let stopped = async {
            if !self.frontend.is_finished() {
                // What it says now is no longer the reason.
                let _ended = (&mut self.frontend).await;
            }
            self.node.shutdown().await;
        };
        if tokio::time::timeout(STOP_MAX, stopped).await.is_err() {
            warn!(after = ?STOP_MAX, "the node has not stopped in time, leaving it behind");
        }
        info!("stopped");
        ended.map(|()| Exit::Ok)
    }
}

/// Not by the runtime: its threads may be the ones that hang.
fn end_by_force_after(limit: Duration) {
    let end = move || {
        std::thread::sleep(limit);
        error!(after = ?limit, "the process has not ended in time, ending it: a disk may hang");
        std::process::exit(Exit::Internal.code().into());
    };
    if let Err(error) = std::thread::Builder::new().name("end".into()).spawn(end) {
        warn!(%error, "nothing ends this process if it hangs");
    }
}

fn stop_result(reason: StopReason) -> Result<(), Failure> {
    match reason {
        StopReason::Shutdown => Ok(()),
        StopReason::Fatal(why) => Err(Failure::internal(format!("the node failed: {why}"))),
        StopReason::Identity(why) | StopReason::Level(why) | StopReason::Diverged(why) => {
            Err(Failure::new(Exit::Refused, why))
        }
    }
}

fn start_failure(error: &StartError) -> Failure {
    let exit = match error {
        StartError::Options(_) => Exit::Usage,
        StartError::Identity(_) | StartError::Level(_) | StartError::Diverged(_) => Exit::Refused,
        StartError::Data(_) | StartError::Raft(_) => Exit::Internal,
    };
    Failure::new(exit, error.to_string())
}

fn local_address(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener.local_addr().map_err(unknown_address)
}

fn unknown_address(error: std::io::Error) -> Failure {
    Failure::internal(format!("a bound port has no address: {error}"))
}

fn stop_on_signals(stop: &CancellationToken) -> Result<(), Failure> {
    let unwatched = |error: io::Error| Failure::internal(format!("signals cannot be watched: {error}"));
    // tokio makes such a pair when it is first asked to watch, and panics where there are too few descriptors for it.
    drop(UnixStream::pair().map_err(unwatched)?);
    let watch = |kind| signal(kind).map_err(unwatched);
    let mut terminate = watch(SignalKind::terminate())?;
    let mut interrupt = watch(SignalKind::interrupt())?;
    let stop = stop.clone();
    runtime::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM, stopping"),
            _ = interrupt.recv() => info!("SIGINT, stopping"),
        }
        stop.cancel();
    });
    Ok(())
}
