//! The port: connections are accepted within a bound, and each has a task of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use leasehold_consensus::runtime;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::accounts::Accounts;
use super::connection::Connection;
use super::scripts::Scripts;
use crate::RedisOptions;
use crate::calls::Calls;
use crate::metrics;

/// Pause after a failed accept, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Told, in Redis' words, to whom there is no room for.
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";
/// Lock libraries keep connections in pools for hours, and do not ping. So an idle one is left alone, and the kernel finds out
/// which of them have no client any more: silent for so long,
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// then asked so often,
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// without an answer to so many.
const KEEPALIVE_PROBES: u32 = 4;

/// What all connections of one node share.
pub(super) struct Door {
    calls: Arc<Calls>,
    node_id: u64,
    port: u16,
    accounts: Accounts,
    scripts: Scripts,
    connected: AtomicU64,
    connections: AtomicU64,
    rejected: AtomicU64,
    commands: AtomicU64,
}

/// How much there has been.
pub(super) struct Counts {
    pub(super) connected: u64,
    pub(super) connections: u64,
    pub(super) rejected: u64,
    pub(super) commands: u64,
}

impl Door {
    fn new(calls: Arc<Calls>, node_id: u64, port: u16) -> Arc<Self> {
        let options = &calls.options().redis;
        let accounts = Accounts::new(options);
        let scripts = Scripts::new(options.scripts_max, options.scripts_bytes_max);
        let none = AtomicU64::default;
        let (connected, connections, rejected, commands) = (none(), none(), none(), none());
        Arc::new(Self { calls, node_id, port, accounts, scripts, connected, connections, rejected, commands })
    }

    pub(super) fn calls(&self) -> &Calls {
        &self.calls
    }

    pub(super) fn options(&self) -> &RedisOptions {
        &self.calls.options().redis
    }

    pub(super) fn node_id(&self) -> u64 {
        self.node_id
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    pub(super) fn scripts(&self) -> &Scripts {
        &self.scripts
    }

    /// A command was read.
    pub(super) fn count_command(&self) {
        self.commands.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            connected: read(&self.connected),
            connections: read(&self.connections),
            rejected: read(&self.rejected),
            commands: read(&self.commands),
        }
    }

    /// Counts a connection as long as the result lives; its id.
    fn enter(self: &Arc<Self>) -> (u64, Visit) {
        metrics::connections(metrics::Door::Redis, 1.0);
        self.connected.fetch_add(1, Ordering::Relaxed);
        let id = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        (id, Visit(Arc::clone(self)))
    }
}

/// An open connection, as it is counted.
struct Visit(Arc<Door>);

impl Drop for Visit {
    fn drop(&mut self) {
        metrics::connections(metrics::Door::Redis, -1.0);
        self.0.connected.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves the port until `stop`, and returns once all its connections have ended: each then finishes the command that it
/// is at. `cut` breaks them.
pub(crate) async fn serve(
    listener: TcpListener,
    calls: Arc<Calls>,
    node_id: u64,
    stop: CancellationToken,
    cut: CancellationToken,
) {
    let port = listener.local_addr().map_or(0, |address| address.port());
    let door = Door::new(calls, node_id, port);
    let max = door.options().connections_max;
    let places = Arc::new(Semaphore::new(max));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            door.rejected.fetch_add(1, Ordering::Relaxed);
            debug!(%peer, max, "turned a connection away");
            // The buffer of a new socket has room; and if not, the client finds it closed.
            let _told = stream.try_write(TOO_MANY);
            continue;
        };
        prepare(&stream, peer);
        let (id, visit) = door.enter();
        let connection = Connection::new(stream, peer, id, Arc::clone(&door), stop.clone());
        let cut = cut.clone();
        runtime::spawn(async move {
            if let Some(Err(error)) = cut.run_until_cancelled(Box::pin(connection.run())).await {
                debug!(%peer, id, %error, "a connection broke");
            }
            drop((visit, place));
        });
    }
    drop(listener);
    // All places are free again once all connections are gone. The semaphore is never closed.
    let all = u32::try_from(max).unwrap_or(u32::MAX);
    let _gone = places.acquire_many(all).await;
}

fn prepare(stream: &TcpStream, peer: SocketAddr) {
    if let Err(error) = stream.set_nodelay(true) {
        warn!(%error, %peer, "cannot set TCP_NODELAY");
    }
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES);
    if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&keepalive) {
        warn!(%error, %peer, "cannot set TCP keepalive");
    }
}
