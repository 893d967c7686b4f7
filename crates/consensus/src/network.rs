//! How openraft reaches a peer: pipelined appends, votes, chunked snapshots.

use std::future::Future;
use std::io::Read;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use leasehold_failpoints::failpoint;
use leasehold_proto::peer as pb;
use leasehold_state_machine::storage::SnapshotFile;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption, RaftNetworkFactory,
};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendResult, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::append_exchange::AppendExchange;
use crate::convert;
use crate::runtime::spawn_blocking;
use crate::transport::{Client, Purpose, Transport};
use crate::types::{Member, TypeConfig, Vote};

/// An answer to an append must come within this: the disk of a busy follower is slower than a heartbeat.
pub(crate) const APPEND_TIMEOUT: Duration = Duration::from_secs(1);
/// A peer that does not take a vote within this is not there.
const VOTE_TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// One chunk of a snapshot must get through within this.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);
const CHUNK_BYTES: usize = 1 << 20;
const CHUNKS_IN_FLIGHT: usize = 4;
const BACKOFF_FIRST: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_millis(160);

pub(crate) type Rpc<T> = Result<T, RPCError<TypeConfig>>;

/// Makes the connections to peers that openraft asks for.
pub(crate) struct Network {
    transport: Arc<Transport>,
}

impl Network {
    pub(crate) fn new(transport: Arc<Transport>) -> Self {
        Self { transport }
    }

    fn link(&self, target: u64, member: &Member, purpose: Purpose) -> PeerLink {
        PeerLink { transport: Arc::clone(&self.transport), target, member: member.clone(), purpose, pause: None }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = PeerLink;

    async fn new_client(&mut self, target: u64, node: &Member) -> PeerLink {
        self.link(target, node, Purpose::Append)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Member) -> PeerLink {
        self.link(target, node, Purpose::Control)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Member) -> PeerLink {
        self.link(target, node, Purpose::Snapshot)
    }
}

/// The way to one peer for one purpose.
pub(crate) struct PeerLink {
    transport: Arc<Transport>,
    target: u64,
    member: Member,
    purpose: Purpose,
    /// How long to wait before the next try to open an append stream, after one that failed.
    pause: Option<Duration>,
}

pub(crate) fn unreachable(status: &Status) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::from_string(status))
}

pub(crate) fn broken(text: impl ToString) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::from_string(text))
}

impl PeerLink {
    fn client(&self) -> Result<Client, Status> {
        self.transport.client(&self.member.peer_address, self.purpose)
    }

    fn forget(&self) {
        self.transport.forget(&self.member.peer_address, self.purpose);
    }

    /// Waits after a failure. openraft's own backoff delays the requests of a stream, so it never comes to a peer that
    /// does not even take the stream: a dead one would be dialled thousands of times a second. Heartbeats come at a pace of their own
    /// and are given up after one interval: a longer pause would end in that, and they would never reach the peer again.
    async fn pause_after_failure(&self) {
        if let (Purpose::Append, Some(pause)) = (self.purpose, self.pause) {
            tokio::time::sleep(pause).await;
        }
    }

    fn note_opened(&mut self, opened: bool) {
        let next = self.pause.map_or(BACKOFF_FIRST, |pause| (pause * 2).min(BACKOFF_MAX));
        self.pause = (!opened).then_some(next);
    }

    async fn open_append<S>(&self, requests: S) -> Rpc<tonic::Streaming<pb::AppendResponse>>
    where
        S: Stream<Item = pb::AppendRequest> + Send + 'static,
    {
        let mut client = self.client().map_err(|status| unreachable(&status))?;
        let request = self.transport.request(self.target, &self.member, requests);
        match tokio::time::timeout(APPEND_TIMEOUT, client.append(request)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(unreachable(&status)),
            Err(_) => {
                self.forget();
                Err(broken(format!("node {} did not open an append stream in time", self.target)))
            }
        }
    }

    async fn send_vote(
        &self,
        request: VoteRequest<TypeConfig>,
        pre_vote: bool,
        option: RPCOption,
    ) -> Rpc<VoteResponse<TypeConfig>> {
        let mut client = self.client().map_err(|status| unreachable(&status))?;
        let message = convert::vote_request_to_pb(&request, pre_vote);
        let message = self.transport.request(self.target, &self.member, message);
        let within = option.soft_ttl().max(VOTE_TIMEOUT_MIN);
        failpoint!("peer_vote::send::before", pass);
        match tokio::time::timeout(within, client.vote(message)).await {
            Ok(Ok(response)) => {
                failpoint!("peer_vote::answer::after", pass);
                convert::vote_response_from_pb(response.into_inner()).map_err(broken)
            }
            Ok(Err(status)) => Err(unreachable(&status)),
            Err(_) => {
                self.forget();
                Err(broken(format!("node {} did not answer a vote request in time", self.target)))
            }
        }
    }
}

impl NetStreamAppend<TypeConfig> for PeerLink {
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Rpc<BoxStream<'s, Rpc<StreamAppendResult<TypeConfig>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + openraft::OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            self.pause_after_failure().await;
            let exchange = AppendExchange::new();
            let opened = self.open_append(exchange.requests(input)).await;
            self.note_opened(opened.is_ok());
            let answers = opened?;
            let this: &'s Self = self;
            let results = stream::unfold(Some((answers, exchange)), move |open| async move {
                let (mut answers, exchange) = open?;
                let result = exchange.next(&mut answers).await?;
                if matches!(result, Err(RPCError::Network(_))) {
                    this.forget();
                }
                let go_on = matches!(result, Ok(Ok(_)));
                Some((result, go_on.then_some((answers, exchange))))
            });
            let results: BoxStream<'s, _> = Box::pin(results);
            Ok(results)
        })
    }
}

impl NetVote<TypeConfig> for PeerLink {
    async fn vote(&mut self, rpc: VoteRequest<TypeConfig>, option: RPCOption) -> Rpc<VoteResponse<TypeConfig>> {
        self.send_vote(rpc, false, option).await
    }

    async fn pre_vote(&mut self, rpc: VoteRequest<TypeConfig>, option: RPCOption) -> Rpc<VoteResponse<TypeConfig>> {
        self.send_vote(rpc, true, option).await
    }
}

impl NetBackoff<TypeConfig> for PeerLink {
    fn backoff(&self) -> Option<Backoff> {
        let delays = std::iter::successors(Some(BACKOFF_FIRST), |delay| Some((*delay * 2).min(BACKOFF_MAX)));
        Some(Backoff::new(delays))
    }
}

impl NetTransferLeader<TypeConfig> for PeerLink {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<TypeConfig>> {
        let mut client = self.client().map_err(|status| unreachable(&status))?;
        let message = pb::TransferLeaderRequest {
            from: Some(convert::vote_to_pb(*request.from_leader())),
            to: *request.to_node_id(),
            last: request.last_log_id().copied().map(convert::log_id_to_pb),
        };
        let message = self.transport.request(self.target, &self.member, message);
        match tokio::time::timeout(option.soft_ttl().max(VOTE_TIMEOUT_MIN), client.transfer_leader(message)).await {
            Ok(Ok(_)) => Ok(Ok(())),
            Ok(Err(status)) => Err(unreachable(&status)),
            Err(_) => Err(broken(format!("node {} did not take the leadership in time", self.target))),
        }
    }
}

impl NetSnapshot<TypeConfig> for PeerLink {
    type SnapshotData = SnapshotFile;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + openraft::OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let mut client = self.client().map_err(|status| unreachable(&status))?;
        let file = snapshot.snapshot;
        failpoint!("peer_snapshot::send::before", pass);
        let head = pb::SnapshotHead { vote: Some(convert::vote_to_pb(vote)) };
        let (send, receive) = mpsc::channel(CHUNKS_IN_FLIGHT);
        let request = self.transport.request(self.target, &self.member, ReceiverStream::new(receive));
        let install = async {
            let sending = send_chunks(file, head, send);
            let (sent, answer) = tokio::join!(sending, client.install_snapshot(request));
            let response = answer.map_err(|status| unreachable(&status))?.into_inner();
            sent?;
            failpoint!("peer_snapshot::answer::after", pass);
            let vote = convert::vote_from_pb(response.vote).map_err(broken)?;
            Ok(SnapshotResponse::new(vote))
        };
        let cancel = pin!(cancel);
        tokio::select! {
            result = tokio::time::timeout(option.hard_ttl(), install) => match result {
                Ok(result) => result.map_err(|error: RPCError<TypeConfig>| error.into()),
                Err(_) => Err(broken("the snapshot was not installed in time").into()),
            },
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }
}

type Chunks = mpsc::Sender<pb::SnapshotChunk>;

/// Reads the file in chunks, a few ahead, never the whole of it in memory.
async fn send_chunks(file: SnapshotFile, head: pb::SnapshotHead, send: Chunks) -> Rpc<()> {
    let part = |part| pb::SnapshotChunk { part: Some(part) };
    let closed = |_| broken("the peer closed the snapshot stream");
    send.send(part(pb::snapshot_chunk::Part::Head(head))).await.map_err(closed)?;
    let path = file.path.clone();
    let mut source = spawn_blocking(move || std::fs::File::open(path)).await.map_err(broken)?.map_err(broken)?;
    loop {
        let read = spawn_blocking(move || {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            let read = source.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk);
            read.map(|_| (source, chunk))
        });
        let (rest, chunk) = read.await.map_err(broken)?.map_err(broken)?;
        source = rest;
        if chunk.is_empty() {
            return Ok(());
        }
        failpoint!("peer_snapshot::chunk::before", pass);
        let sending = send.send(part(pb::snapshot_chunk::Part::Data(Bytes::from(chunk))));
        tokio::time::timeout(CHUNK_TIMEOUT, sending).await.map_err(broken)?.map_err(closed)?;
    }
}
