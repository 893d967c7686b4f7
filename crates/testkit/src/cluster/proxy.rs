//! A wire between a client and a node that a test can cut.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes that are carried at a time.
const CHUNK: usize = 16 << 10;

/// Listens on loopback and carries bytes to and from one address. Cut, it carries nothing and says nothing, as a network
/// does that loses every packet: connections stay open and are silent.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    cut: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Begins to carry.
    pub async fn start(target: String) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (cut, is_cut) = watch::channel(false);
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, target.clone(), is_cut.clone()));
            }
        });
        Ok(Self { address, cut, accepting })
    }

    /// Where the client connects instead.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on nothing passes, in either direction.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Connections from now on pass again; those that were cut are reset.
    pub fn heal(&self) {
        self.cut.send_replace(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(near: TcpStream, target: String, cut: watch::Receiver<bool>) {
    let mut was_cut = cut.clone();
    let both = async {
        // One that comes while the wire is cut hears nothing at all.
        let far = TcpStream::connect(target).await?;
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        tokio::try_join!(one_way(near_read, far_write, cut.clone()), one_way(far_read, near_write, cut))?;
        io::Result::Ok(())
    };
    let reset = async {
        // A wire that was cut and healed is another wire.
        if was_cut.wait_for(|cut| *cut).await.is_ok() {
            let _healed = was_cut.wait_for(|cut| !*cut).await;
        }
    };
    tokio::select! {
        _done = both => {}
        () = reset => {}
    }
}

async fn one_way(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cut: watch::Receiver<bool>) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = from.read(&mut chunk).await?;
        // What was read before a cut and not passed on is lost with it.
        if cut.wait_for(|cut| !*cut).await.is_err() {
            return Ok(());
        }
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&chunk[..length]).await?;
    }
}
