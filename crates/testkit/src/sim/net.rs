//! The simulated network, as nodes and clients see it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use leasehold_platform::net::{Accept, ByteStream, Dial, Dialer, Listener};
use turmoil::net::{TcpListener, TcpStream};

struct Port(TcpListener);

/// Binds a port of the current host.
pub(super) async fn listen(port: u16) -> io::Result<Listener> {
    Ok(Listener::new(Box::new(Port(TcpListener::bind(("0.0.0.0", port)).await?))))
}

impl Accept for Port {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn ByteStream>, SocketAddr)>> {
        async {
            let (stream, address) = self.0.accept().await?;
            Ok((Box::new(stream) as Box<dyn ByteStream>, address))
        }
        .boxed()
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

struct Network;

/// Dials hosts by their name.
pub(super) fn dialer() -> Dialer {
    Dialer::new(Arc::new(Network))
}

impl Dial for Network {
    fn dial(&self, address: String) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> {
        async move {
            let (host, port) = address.rsplit_once(':').ok_or_else(|| io::Error::other("no port"))?;
            let port: u16 = port.parse().map_err(io::Error::other)?;
            let stream = TcpStream::connect((host, port)).await?;
            Ok(Box::new(stream) as Box<dyn ByteStream>)
        }
        .boxed()
    }
}
