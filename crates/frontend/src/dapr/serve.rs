//! Serves the ports that are Dapr's alone.

use std::future::IntoFuture;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, try_join_all};
use leasehold_platform::net::Listener;
use tokio_util::sync::CancellationToken;
use tonic_health::server::HealthReporter;

use super::listeners::{Bound, DaprListeners};
use super::{Health, Locks, Service, routes};
use crate::net::{Connections, Peer};
use crate::{FrontendError, server};

type Served = BoxFuture<'static, Result<(), FrontendError>>;

/// Serves the listeners until `stop`, or until one of them fails.
pub(crate) fn serve(
    listeners: DaprListeners,
    locks: &Arc<Locks>,
    (gate, health): (&Health, &HealthReporter),
    connections: impl Fn(Listener) -> Connections,
    stop: &CancellationToken,
) -> Result<impl Future<Output = Result<(), FrontendError>>, FrontendError> {
    let mut served: Vec<Served> = Vec::new();
    for Bound { grpc, http, app_id } in listeners.0 {
        if let Some(grpc) = grpc {
            let router = server::dapr_router(Service::new(Arc::clone(locks), app_id.clone()), locks, health)?;
            let incoming = connections(grpc.into()).into_stream();
            let grpc = router.serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
            served.push(async { Ok(grpc.await?) }.boxed());
        }
        if let Some(http) = http {
            let router = routes(Arc::clone(locks), gate.clone(), app_id);
            let http = axum::serve(connections(http.into()), router.into_make_service_with_connect_info::<Peer>())
                .with_graceful_shutdown(stop.clone().cancelled_owned())
                .into_future();
            served.push(async { Ok(http.await?) }.boxed());
        }
    }
    Ok(async { try_join_all(served).await.map(|_| ()) })
}
