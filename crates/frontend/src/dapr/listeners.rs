//! Ports that serve nothing but Dapr's API.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::{DaprListener, DaprOptionsError};

/// The listeners of the options, bound. The default is none.
#[derive(Debug, Default)]
pub struct DaprListeners(pub(super) Vec<Bound>);

#[derive(Debug)]
pub(super) struct Bound {
    pub(super) grpc: Option<TcpListener>,
    pub(super) http: Option<TcpListener>,
    pub(super) app_id: Option<Arc<str>>,
}

/// Where one listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaprAddresses {
    /// Of gRPC.
    pub grpc: Option<SocketAddr>,
    /// Of HTTP.
    pub http: Option<SocketAddr>,
    /// The application that connects there.
    pub app_id: Option<String>,
}

impl DaprListeners {
    /// Takes the ports, or says which one cannot be had.
    pub async fn bind(listeners: &[DaprListener]) -> Result<Self, DaprOptionsError> {
        let mut bound = Vec::with_capacity(listeners.len());
        for (i, listener) in listeners.iter().enumerate() {
            bound.push(Bound {
                grpc: bind(&format!("dapr.listeners[{i}].grpc"), listener.grpc.as_ref()).await?,
                http: bind(&format!("dapr.listeners[{i}].http"), listener.http.as_ref()).await?,
                app_id: listener.app_id.as_deref().map(Arc::from),
            });
        }
        Ok(Self(bound))
    }

    /// Where they are, in the order of the options.
    pub fn addresses(&self) -> io::Result<Vec<DaprAddresses>> {
        let address = |listener: &Option<TcpListener>| listener.as_ref().map(TcpListener::local_addr).transpose();
        let addresses = |bound: &Bound| {
            Ok(DaprAddresses {
                grpc: address(&bound.grpc)?,
                http: address(&bound.http)?,
                app_id: bound.app_id.as_deref().map(str::to_owned),
            })
        };
        self.0.iter().map(addresses).collect()
    }
}

async fn bind(field: &str, address: Option<&String>) -> Result<Option<TcpListener>, DaprOptionsError> {
    let Some(address) = address else { return Ok(None) };
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) => Err(DaprOptionsError::new(field, format!("cannot listen on {address}: {error}"))),
    }
}
