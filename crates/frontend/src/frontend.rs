//! A frontend from start to stop.

use std::sync::Arc;
use std::time::Duration;

use leasehold_consensus::{ApplyObserver, Node, runtime};
use leasehold_platform::net::Listener;
use leasehold_state_machine::{Event, StateMachine};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::server::HealthReporter;
use tracing::{info, warn};

use crate::calls::{Calls, Waits};
use crate::cluster_service::Cluster;
use crate::gate::Watchman;
use crate::net::{Connections, Peer};
use crate::watch::Hub;
use crate::{
    DaprListeners, DaprOptionsError, FrontendOptions, FrontendOptionsError, dapr, http, metrics, redis, server,
};

/// What serves the clients of one node.
///
/// Its observer must exist before the node does: make the frontend, start the node with [`Frontend::observer`], then
/// [`Frontend::run`] with the node.
#[derive(Debug)]
pub struct Frontend {
    options: Arc<FrontendOptions>,
    waits: Arc<Waits>,
    hub: Arc<Hub>,
}

/// The ports that a frontend serves, bound.
#[derive(Debug)]
pub struct Listeners {
    /// gRPC.
    pub grpc: Listener,
    /// HTTP.
    pub http: Listener,
    /// Ports for clients of Dapr alone.
    pub dapr: DaprListeners,
    /// The Redis protocol, where that is served.
    pub redis: Option<TcpListener>,
}

/// Whoever hears what the node applies.
#[derive(Debug)]
struct Observers {
    waits: Arc<Waits>,
    hub: Arc<Hub>,
}

impl ApplyObserver for Observers {
    fn applied(&self, events: Arc<[Event]>, state: &StateMachine) {
        self.waits.applied(&events);
        self.hub.applied(events, state);
    }

    fn reset(&self, state: &StateMachine) {
        self.waits.reset(state);
        self.hub.reset(state);
    }
}

/// Why a frontend does not start, or ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum FrontendError {
    /// A bad option.
    #[error(transparent)]
    Options(#[from] FrontendOptionsError),
    /// A bad option of the Dapr door.
    #[error(transparent)]
    Dapr(#[from] DaprOptionsError),
    /// The built-in descriptors do not decode: a defect of the build.
    #[error("server reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The gRPC server ended.
    #[error("the gRPC server ended: {0}")]
    Grpc(#[from] tonic::transport::Error),
    /// The HTTP server ended.
    #[error("the HTTP server ended: {0}")]
    Http(#[from] std::io::Error),
}

impl Frontend {
    /// Checks the options.
    pub fn new(options: FrontendOptions) -> Result<Self, FrontendError> {
        options.validate()?;
        options.dapr.validate()?;
        metrics::install();
        let (waits, hub) = (Waits::new(options.waits_max), Hub::new(&options));
        Ok(Self { options: Arc::new(options), waits, hub })
    }

    /// What the node must be started with: calls that wait here end by what it applies, and watches tell it.
    #[must_use]
    pub fn observer(&self) -> Arc<dyn ApplyObserver> {
        Arc::new(Observers { waits: Arc::clone(&self.waits), hub: Arc::clone(&self.hub) })
    }

    /// Serves clients on bound ports until `shutdown`. Then waits end UNAVAILABLE, streams are ended, and what has not
    /// finished after `shutdown_max` is cut. The node is left running.
    pub async fn run(self, listeners: Listeners, node: Node, shutdown: CancellationToken) -> Result<(), FrontendError> {
        let Self { options, waits, hub } = self;
        // Ends also when one of the servers fails.
        let stop = shutdown.child_token();
        let _stop_in_any_case = stop.clone().drop_guard();
        // Calls in their last moments still need these.
        let background = CancellationToken::new();
        let _background_ends = background.clone().drop_guard();
        let cut = CancellationToken::new();
        let _cut_in_any_case = cut.clone().drop_guard();

        let watchman = Watchman::new();
        let gate = watchman.gate();
        let heard = (Arc::clone(&waits), Arc::clone(&hub));
        let calls = Calls::start(node.clone(), Arc::clone(&options), gate.clone(), heard, &background);
        let health = HealthReporter::new();
        let locks = dapr::Locks::new(Arc::clone(&calls), node.id());
        let door = dapr::Service::new(Arc::clone(&locks), None);
        let router = server::router(Arc::clone(&calls), Cluster::new(Arc::clone(&calls)), door, &health, stop.clone())?;

        runtime::spawn(Arc::clone(&hub).run());
        runtime::spawn(metrics::keep_up(background.clone()));
        runtime::spawn(server::follow_health(health.clone(), gate.clone()));
        runtime::spawn(follow_leader(node.leader(), Arc::clone(&waits), options.leaderless_max, stop.clone()));
        let node_id = node.id();
        let http_router = http::router(gate.clone(), node.clone());
        #[cfg(feature = "failpoints")]
        let http_router = http_router.merge(crate::failpoints::routes());
        let http_router = http_router.merge(dapr::routes(Arc::clone(&locks), gate.clone(), None));
        runtime::spawn(watchman.run(node, stop.clone()));

        let connections =
            |listener: Listener| Connections::new(listener, options.connections_max, options.idle_max, cut.clone());
        let grpc = router
            .serve_with_incoming_shutdown(connections(listeners.grpc).into_stream(), stop.clone().cancelled_owned());
        let http_router = http_router.into_make_service_with_connect_info::<Peer>();
        let http = axum::serve(connections(listeners.http), http_router)
            .with_graceful_shutdown(stop.clone().cancelled_owned())
            .into_future();
        let dapr = dapr::serve(listeners.dapr, &locks, (&gate, &health), connections, &stop)?;

        let redis = async {
            if let Some(listener) = listeners.redis {
                redis::serve(listener, calls, node_id, stop.clone(), cut.clone()).await;
            }
            Ok(())
        };

        let serve = async {
            let grpc = async { grpc.await.map_err(FrontendError::from) };
            let http = async { http.await.map_err(FrontendError::from) };
            tokio::try_join!(grpc, http, dapr, redis).map(|_| ())
        };
        let bound = async {
            stop.cancelled().await;
            info!("frontend stops");
            waits.close();
            hub.close();
            tokio::time::sleep(options.shutdown_max).await;
        };
        let ended = tokio::select! {
            ended = serve => ended,
            () = bound => {
                warn!(after = ?options.shutdown_max, "calls were still open, cut them");
                Ok(())
            }
        };
        hub.close();
        ended
    }
}

/// Ends all waits whenever no leader has been known for `leaderless_max`.
async fn follow_leader(
    mut leader: watch::Receiver<Option<u64>>,
    waits: Arc<Waits>,
    leaderless_max: Duration,
    stop: CancellationToken,
) {
    let follow = async {
        loop {
            if leader.wait_for(Option::is_none).await.is_err() {
                return;
            }
            while tokio::time::timeout(leaderless_max, leader.wait_for(Option::is_some)).await.is_err() {
                waits.adrift();
            }
        }
    };
    tokio::select! {
        () = follow => {}
        () = stop.cancelled() => {}
    }
}

#[cfg(test)]
mod tests {
    use leasehold_state_machine::RequestId;

    use super::*;
    use crate::calls::WaitEnd;

    #[tokio::test]
    async fn waits_outlast_a_short_election_but_not_a_lost_quorum() {
        let waits = Waits::new(10);
        let (leader, followed) = watch::channel(Some(1));
        let stop = CancellationToken::new();
        let bound = Duration::from_millis(200);
        runtime::spawn(follow_leader(followed, Arc::clone(&waits), bound, stop));
        let mut wait = waits.register(RequestId { client: 1, counter: 1 }, 1).unwrap();

        leader.send(None).unwrap();
        tokio::task::yield_now().await;
        leader.send(Some(2)).unwrap();
        let soon = tokio::time::timeout(bound * 2, wait.ended()).await;
        assert!(soon.is_err(), "a leader came back in time");

        leader.send(None).unwrap();
        assert_eq!(wait.ended().await, WaitEnd::Adrift);
    }
}
