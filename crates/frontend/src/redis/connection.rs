//! One connection: bytes in, replies out, strictly in order, everything within bounds.

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use leasehold_consensus::clock::{deadline_after, time_until};
use leasehold_redis::{Decoder, Reply, Request};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::client::{Answer, Client};
use super::door::Door;
use crate::calls::CancelGuard;

/// What is read at once, at least.
const READ_BYTES: usize = 8 * 1024;
/// An empty buffer that is larger is given back: most connections are idle most of the time.
const IDLE_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Replies of pipelined commands are sent once they have so many bytes,
const REPLY_BYTES_MAX: usize = 64 * 1024;
/// or the first of them is so old,
const REPLY_DELAY_MAX: Duration = Duration::from_millis(5);
/// or so many locks were acquired.
const GUARDS_MAX: usize = 64;
/// A client that has sent its last byte and is gone refuses what it is sent within this time. One that has only shut down its
/// sending side takes it, and nothing tells us so.
const RESET_MAX: Duration = Duration::from_millis(200);
/// What a client may go on sending while it reads why it is cut off: closing at once would take the reply from it.
const LINGER_BYTES_MAX: usize = Decoder::REQUEST_BYTES_MAX;
const LINGER_MAX: Duration = Duration::from_secs(1);

pub(super) struct Connection {
    stream: TcpStream,
    door: Arc<Door>,
    client: Client,
    decoder: Decoder,
    input: BytesMut,
    output: BytesMut,
    /// By when the first reply in `output` is sent.
    output_due: Option<Instant>,
    /// What was acquired by commands whose replies are not handed out, and where in `output` these end.
    guards: VecDeque<(usize, CancelGuard)>,
    /// By when the request at the front of `input` must be whole.
    request_due: Option<Instant>,
    /// The client sends nothing more.
    sent_all: bool,
    /// After its last byte it was still there.
    stayed: bool,
    stop: CancellationToken,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, peer: SocketAddr, id: u64, door: Arc<Door>, stop: CancellationToken) -> Self {
        Self {
            stream,
            client: Client::new(id, peer, &door),
            door,
            decoder: Decoder::default(),
            input: BytesMut::new(),
            output: BytesMut::new(),
            output_due: None,
            guards: VecDeque::new(),
            request_due: None,
            sent_all: false,
            stayed: false,
            stop,
        }
    }

    /// Until the client has gone, or asks to, or the door closes. An error: it broke.
    pub(super) async fn run(mut self) -> io::Result<()> {
        while self.answer_all().await? {
            if self.sent_all || self.stop.is_cancelled() {
                // Nothing more comes, or is taken.
                return self.stream.shutdown().await;
            }
            self.read().await?;
        }
        self.linger().await
    }

    /// Answers all requests that have come; false when this was the last answer.
    async fn answer_all(&mut self) -> io::Result<bool> {
        let mut began_anew = false;
        while !self.stop.is_cancelled() {
            let request = match self.decoder.next(&mut self.input) {
                Ok(Some(request)) => request,
                Ok(None) => break,
                Err(error) => {
                    Reply::Error(error.to_string()).encode(self.client.protocol(), &mut self.output);
                    self.flush().await?;
                    return Ok(false);
                }
            };
            began_anew = true;
            if self.answer(&request).await? {
                self.flush().await?;
                return Ok(false);
            }
        }
        self.flush().await?;
        if self.input.is_empty() {
            self.request_due = None;
            if self.input.capacity() > IDLE_BUFFER_BYTES_MAX {
                self.input = BytesMut::new();
            }
        } else if began_anew || self.request_due.is_none() {
            self.request_due = Some(deadline_after(self.door.options().request_max));
        }
        Ok(true)
    }

    /// Answers one request; whether it is the last.
    async fn answer(&mut self, request: &Request) -> io::Result<bool> {
        // Most commands wait for something; a pipeline of those that do not must not keep others from running.
        tokio::task::consume_budget().await;
        let Answer { reply, guard, last } = self.client.answer(&self.door, request).await;
        reply.encode(self.client.protocol(), &mut self.output);
        self.guards.extend(guard.map(|guard| (self.output.len(), guard)));
        let due = *self.output_due.get_or_insert_with(|| deadline_after(REPLY_DELAY_MAX));
        let full = self.output.len() >= REPLY_BYTES_MAX || self.guards.len() >= GUARDS_MAX;
        if full || time_until(due).is_zero() {
            self.flush().await?;
        }
        Ok(last)
    }

    /// Hands the replies out. What was acquired is the client's from then on, and not before the last byte of its reply was taken.
    async fn flush(&mut self) -> io::Result<()> {
        self.output_due = None;
        let mut written = 0;
        if !self.guards.is_empty() {
            self.look_whether_all_is_sent()?;
            if self.sent_all && !self.stayed {
                written += self.write(1).await?;
                self.look_whether_it_is_gone().await?;
            }
        }
        while !self.output.is_empty() {
            written += self.write(self.output.len()).await?;
            while self.guards.front().is_some_and(|(end, _)| *end <= written) {
                self.guards.pop_front().into_iter().for_each(|(_, guard)| guard.disarm());
            }
        }
        debug_assert!(self.guards.is_empty(), "every reply was handed out");
        Ok(())
    }

    /// Writes some of the replies, at most so many bytes; how many.
    async fn write(&mut self, bytes_max: usize) -> io::Result<usize> {
        let unread_max = self.door.options().unread_max;
        let written = timeout(unread_max, self.stream.write(&self.output[..bytes_max])).await??;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.output.advance(written);
        Ok(written)
    }

    /// Waits for bytes, and reads what there is.
    async fn read(&mut self) -> io::Result<()> {
        self.input.reserve(READ_BYTES);
        let due = self.request_due;
        let read = async {
            match due {
                Some(due) => timeout_at(due, self.stream.read_buf(&mut self.input)).await?,
                None => self.stream.read_buf(&mut self.input).await,
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            read = read => self.sent_all = read? == 0,
        }
        Ok(())
    }

    /// Whether the client has shut down its sending side, or gone, while it was being answered. What it sent meanwhile is read, as far
    /// as it may be, to see the end behind it.
    fn look_whether_all_is_sent(&mut self) -> io::Result<()> {
        let mut byte = [MaybeUninit::uninit()];
        while !self.sent_all {
            // Asks the kernel, not what the runtime last heard of it.
            match SockRef::from(&self.stream).peek(&mut byte) {
                Ok(0) => self.sent_all = true,
                Ok(_) if self.input.len() >= Decoder::REQUEST_BYTES_MAX => return Ok(()),
                Ok(_) => {
                    self.input.reserve(READ_BYTES);
                    match self.stream.try_read_buf(&mut self.input) {
                        Ok(_) => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                        Err(error) => return Err(error),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A client that has sent its last byte may be gone altogether: then its kernel refuses the first byte of the replies, which tells
    /// nobody anything, and what was acquired is cancelled. One that still reads loses this time once.
    async fn look_whether_it_is_gone(&mut self) -> io::Result<()> {
        match timeout(RESET_MAX, self.stream.ready(Interest::ERROR)).await {
            Ok(Ok(_)) => Err(self.stream.take_error()?.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                self.stayed = true;
                Ok(())
            }
        }
    }

    /// Closes so that the client can still read the last reply.
    async fn linger(mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let drain = async {
            let mut left = LINGER_BYTES_MAX;
            loop {
                self.input.clear();
                self.input.reserve(READ_BYTES);
                let read = self.stream.read_buf(&mut self.input).await?;
                if read == 0 || read > left {
                    return Ok(());
                }
                left -= read;
            }
        };
        timeout(LINGER_MAX, drain).await.unwrap_or(Ok(()))
    }
}
