//! A way that takes longer: what was read is written later, by a time that varies from chunk to chunk.

use std::io;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::clock::Moment;

const CHUNK: usize = 16 << 10;
/// Chunks on their way in one direction.
const CHUNKS_MAX: usize = 1_024;
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// Listens in the hub and carries to one address, late. Dropped, it resets what it carries.
#[derive(Debug)]
pub(super) struct DelayProxy {
    port: u16,
    _carrying: JoinSet<()>,
}

impl DelayProxy {
    pub(super) async fn start(target: String, longest: Duration, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((super::HUB, 0)).await?;
        let port = listener.local_addr()?.port();
        let mut random = StdRng::seed_from_u64(seed ^ u64::from(port));
        let mut carrying = JoinSet::new();
        carrying.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                connections.spawn(carry(near, target.clone(), longest, random.random()));
            }
        });
        Ok(Self { port, _carrying: carrying })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

async fn carry(near: TcpStream, target: String, longest: Duration, seed: u64) {
    let Ok(Ok(far)) = timeout(CONNECT_MAX, TcpStream::connect(target)).await else { return };
    // Latency is what we add, not what Nagle adds. A socket that cannot be told so is broken anyway.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let there = one_way(near_read, far_write, longest, seed);
    let back = one_way(far_read, near_write, longest, seed ^ 1);
    // One end that has gone is the end of the connection.
    tokio::select! {
        _ended = there => {}
        _ended = back => {}
    }
}

async fn one_way(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, longest: Duration, seed: u64) -> io::Result<()> {
    let (sender, mut receiver) = mpsc::channel::<(Moment, Vec<u8>)>(CHUNKS_MAX);
    let read = async move {
        let mut random = StdRng::seed_from_u64(seed);
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = from.read(&mut chunk).await?;
            let late = longest.mul_f64(random.random());
            let due = Moment::now().plus_ms(u64::try_from(late.as_millis()).unwrap_or(0));
            if length == 0 || sender.send((due, chunk[..length].to_vec())).await.is_err() {
                return io::Result::Ok(());
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = receiver.recv().await {
            sleep(due.since(Moment::now())).await;
            to.write_all(&bytes).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(|_both| ())
}
