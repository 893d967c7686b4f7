//! Runs one node with temporary data, for trying things out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use leasehold_consensus::clock::Clock;
use leasehold_consensus::media::Media;
use leasehold_consensus::{LEVEL_MAX, NodeOptions, Readiness, Tuning};
use leasehold_frontend::{DaprListeners, DaprOptions, DaprStore, FrontendOptions};
use leasehold_platform::net::Dialer;
use tokio::net::TcpListener;

use crate::config::{
    HTTP_LISTEN_DEFAULT, LISTEN_DEFAULT, PEER_LISTEN_DEFAULT, REDIS_LISTEN_USUAL, STORE_READY, Settings,
};
use crate::exit::{Exit, Failure, report};
use crate::logging::{self, LogFormat};
use crate::serve::{Listeners, Running, bind};

/// A node that plays alone says little.
const LOG_DEFAULT: &str = "warn";
/// By when a lone node leads.
const READY_MAX: Duration = Duration::from_secs(30);
const READY_INTERVAL: Duration = Duration::from_millis(20);

/// Arguments of `leasehold dev`.
#[derive(Debug, clap::Args)]
pub(crate) struct DevArgs {
    /// How to log, to stderr; LEASEHOLD_LOG filters (default: text)
    #[arg(long, env = "LEASEHOLD_LOG_FORMAT", value_enum)]
    log_format: Option<LogFormat>,
}

/// `leasehold dev`. Ends with SIGINT or SIGTERM; its data ends with it.
pub(crate) async fn run(args: DevArgs) -> ExitCode {
    report(dev(args).await)
}

async fn dev(args: DevArgs) -> Result<Exit, Failure> {
    let log_format = args.log_format.unwrap_or_default();
    logging::init(log_format, LOG_DEFAULT).map_err(Failure::usage)?;
    let folder = tempfile::Builder::new()
        .prefix("leasehold-dev-")
        .tempdir()
        .map_err(|error| Failure::internal(format!("no temporary folder: {error}")))?;
    let redis = bind_near("redis-listen", REDIS_LISTEN_USUAL).await?;
    let listeners = Listeners {
        client: bind_near("listen", LISTEN_DEFAULT).await?,
        peer: bind_near("peer-listen", PEER_LISTEN_DEFAULT).await?,
        http: bind_near("http-listen", HTTP_LISTEN_DEFAULT).await?,
        dapr: DaprListeners::default(),
        redis: None,
    };
    let address = |listener: &TcpListener| listener.local_addr().map_err(|error| Failure::internal(error.to_string()));
    let (client, peer, http) = (address(&listeners.client)?, address(&listeners.peer)?, address(&listeners.http)?);
    let redis_address = address(&redis)?;
    let listeners = Listeners { redis: Some(redis), ..listeners };
    let dapr = DaprOptions { stores: vec![DaprStore::open_to_all(STORE_READY)], ..DaprOptions::default() };
    let settings = Settings {
        node: NodeOptions {
            node_id: 1,
            data_dir: folder.path().to_owned(),
            peer_address: peer.to_string(),
            client_address: client.to_string(),
            peers: BTreeMap::from([(1, peer.to_string())]),
            bootstrap: true,
            level_max: LEVEL_MAX,
            tuning: Tuning::default(),
            clock: Clock::system(),
            media: Media::files(),
            dialer: Dialer::tcp(),
        },
        frontend: FrontendOptions { dapr, ..FrontendOptions::default() },
        listen: client.to_string(),
        peer_listen: peer.to_string(),
        http_listen: http.to_string(),
        redis_listen: Some(redis_address.to_string()),
        log_format,
    };
    let mut running = Running::start(settings, listeners).await?;
    let node = running.node.clone();
    let ready = async {
        while node.readiness() != Readiness::Ready {
            tokio::time::sleep(READY_INTERVAL).await;
        }
    };
    let told = async {
        let state = match tokio::time::timeout(READY_MAX, ready).await {
            Ok(()) => "is ready",
            Err(_) => "is not ready yet (its log may tell why: LEASEHOLD_LOG=info)",
        };
        // Nobody may be reading any more.
        let _unread = std::io::stdout().write_all(how_to(state, client, http, redis_address).as_bytes());
        std::future::pending::<()>().await;
    };
    // The folder goes when all is over.
    let ended = tokio::select! {
        ended = running.until_stopped() => ended,
        () = told => Ok(Exit::Ok),
    };
    drop(folder);
    ended
}

/// The usual port, or any free one.
async fn bind_near(field: &str, usual: &str) -> Result<TcpListener, Failure> {
    match TcpListener::bind(usual).await {
        Ok(listener) => Ok(listener),
        Err(_) => bind(field, "127.0.0.1:0").await,
    }
}

fn how_to(state: &str, client: SocketAddr, http: SocketAddr, redis: SocketAddr) -> String {
    let mut text = format!(
        "A Leasehold node {state}. Its data is temporary: it goes when the node stops (Ctrl-C).\n\n\
         \x20 gRPC  {client}\n\
         \x20 HTTP  http://{http}/readyz\n\
         \x20 Redis {redis}\n\nTry, in another terminal:\n\n"
    );
    if client.to_string() != LISTEN_DEFAULT {
        // Writing to a String cannot fail.
        let _always = writeln!(text, "  export LEASEHOLD_ENDPOINTS={client}");
    }
    text.push_str(
        "  leasehold acquire my-lock --ttl 1m\n\
         \x20 leasehold get my-lock\n\
         \x20 leasehold lock other-lock -- sh -c 'echo \"token $LEASEHOLD_TOKEN\"; sleep 5'\n",
    );
    let _always = writeln!(text, "  grpcurl -plaintext {client} list");
    let _always = writeln!(text, "  redis-cli -p {} SET a-lock me NX PX 60000", redis.port());
    let _always = writeln!(
        text,
        "\nOr as an application of Dapr, whose sidecar this is (lock store {STORE_READY}; SDKs: DAPR_GRPC_ENDPOINT={client}):\n\n\
         \x20 curl http://{http}/v1.0-alpha1/lock/{STORE_READY} \\\n\
         \x20   -d '{{\"resourceId\":\"my-lock\",\"lockOwner\":\"me\",\"expiryInSeconds\":60}}'\n\
         \x20 leasehold get 'lock||default||my-lock'"
    );
    text
}
