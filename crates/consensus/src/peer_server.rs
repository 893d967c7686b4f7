//! What a node answers to its peers.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use leasehold_failpoints::failpoint;
use leasehold_platform::net::Listener;
use leasehold_proto::peer as pb;
use leasehold_proto::peer::peer_server::{Peer, PeerServer};
use leasehold_state_machine::storage::SnapshotReceiver;
use openraft::async_runtime::WatchReceiver as _;
use openraft::raft::TransferLeaderRequest;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::applier::{self, Snapshots};
use crate::convert::{self, Malformed};
use crate::divergence;
use crate::forward;
use crate::identity::IdentityFile;
use crate::leader_loss::LeaderLoss;
use crate::leadership::Leadership;
use crate::proposer::ProposerHandle;
use crate::read_index;
use crate::runtime::{spawn, spawn_blocking};
use crate::shared::Shared;
use crate::status;
use crate::transport::{FROM_HEADER, PEER_MESSAGE_BYTES_MAX, TO_HEADER, cluster_of, peer_of};
use crate::types::Raft;

/// Connections that have not ended this long after their streams are left behind.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);
const OUTCOMES_PER_MESSAGE_MAX: usize = 1_024;
const STREAMS_PER_PEER_MAX: u32 = 256;
const PENDING_RESETS_MAX: usize = 64;
const LOCAL_RESETS_MAX: usize = 256;
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Everything that a peer's call may touch.
#[derive(Clone)]
pub(crate) struct PeerService {
    pub(crate) raft: Raft,
    pub(crate) shared: Arc<Shared>,
    pub(crate) identity: Arc<IdentityFile>,
    pub(crate) leadership: Arc<Leadership>,
    pub(crate) leader_loss: Arc<LeaderLoss>,
    pub(crate) proposer: ProposerHandle,
    pub(crate) snapshots: Arc<Snapshots>,
    /// One snapshot is received at a time.
    pub(crate) receiving: Arc<tokio::sync::Mutex<()>>,
    pub(crate) client_address: String,
    pub(crate) stop: CancellationToken,
}

impl PeerService {
    /// Serves peers until stopped. Open streams end with the stop; what then still hangs is left behind after a bound.
    pub(crate) async fn serve(self, listener: Listener) -> Result<(), tonic::transport::Error> {
        let stop = self.stop.clone();
        let peers = PeerServer::new(self)
            .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX);
        let server = Server::builder()
            .initial_stream_window_size(8 << 20)
            .initial_connection_window_size(16 << 20)
            .max_concurrent_streams(STREAMS_PER_PEER_MAX)
            .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS_MAX))
            .http2_max_local_error_reset_streams(Some(LOCAL_RESETS_MAX))
            .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
            .add_service(peers)
            .serve_with_incoming_shutdown(listener.incoming(), stop.clone().cancelled_owned());
        let overdue = async {
            stop.cancelled().await;
            tokio::time::sleep(SHUTDOWN_MAX).await;
        };
        tokio::select! {
            result = server => result,
            () = overdue => Ok(()),
        }
    }

    /// Ends with the node. A call that outlives it would keep its connection, and its caller waiting for what no longer comes: a leader
    /// waits for a snapshot for as long as the largest may take.
    async fn unless_stopped<T>(&self, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        let stopping = || Err(Status::unavailable("this node is stopping"));
        self.stop.run_until_cancelled(call).await.unwrap_or_else(stopping)
    }

    /// Refuses a message that is not meant for this node's folder, not of this cluster, or not from the folder that the
    /// membership knows the sender by.
    fn check(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let own = self.identity.get();
        let (from, to) = (peer_of(metadata, FROM_HEADER)?, peer_of(metadata, TO_HEADER)?);
        if to.node != own.node_id || to.incarnation != own.incarnation {
            return Err(Status::failed_precondition(format!(
                "message for node {} with data folder {:016x}; this is node {} with data folder {:016x}: the folder was \
                 wiped or swapped, and has to be replaced in the membership",
                to.node, to.incarnation, own.node_id, own.incarnation
            )));
        }
        if let Some(known) = self.member_incarnation(from.node)
            && known != from.incarnation
        {
            return Err(Status::failed_precondition(format!(
                "node {} is known by data folder {known:016x}, the message comes from {:016x}",
                from.node, from.incarnation
            )));
        }
        let Some(cluster) = cluster_of(metadata)? else {
            return Err(Status::failed_precondition("the sender belongs to no cluster yet"));
        };
        let joined = match own.cluster {
            Some(joined) => joined,
            None => self.identity.join(cluster).map_err(|error| Status::internal(error.to_string()))?,
        };
        if joined != cluster {
            return Err(Status::failed_precondition(format!(
                "message of cluster {cluster}; this node belongs to cluster {joined}"
            )));
        }
        Ok(())
    }

    fn member_incarnation(&self, node: u64) -> Option<u64> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().get_node(&node).map(|member| member.incarnation)
    }

    async fn receive_snapshot(
        &self,
        mut chunks: Streaming<pb::SnapshotChunk>,
    ) -> Result<pb::InstallSnapshotResponse, Status> {
        let _turn = self.receiving.lock().await;
        let head = match chunks.message().await?.and_then(|chunk| chunk.part) {
            Some(pb::snapshot_chunk::Part::Head(head)) => head,
            _ => return Err(Status::invalid_argument("a snapshot begins with its head")),
        };
        let vote = convert::vote_from_pb(head.vote).map_err(malformed)?;
        let dir = self.snapshots.dir.clone();
        let cluster = self.identity.get().cluster;
        let mut receiver = blocking(move || SnapshotReceiver::create(&dir, cluster)).await?;
        while let Some(chunk) = chunks.message().await? {
            let Some(pb::snapshot_chunk::Part::Data(data)) = chunk.part else {
                return Err(Status::invalid_argument("the head of a snapshot comes once"));
            };
            self.shared.note_leader_contact();
            receiver = blocking(move || receiver.write_chunk(&data).map(|()| receiver)).await?;
        }
        let file = blocking(move || receiver.finish()).await?;
        let snapshot = applier::as_snapshot(file).map_err(|error| Status::internal(error.to_string()))?;
        let response = self.raft.install_full_snapshot(vote, snapshot).await.map_err(fatal)?;
        failpoint!("peer_snapshot::answer::before", pass);
        Ok(pb::InstallSnapshotResponse { vote: Some(convert::vote_to_pb(response.vote)) })
    }
}

async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Status>
where
    T: Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    let done = spawn_blocking(work).await.map_err(|error| Status::internal(error.to_string()))?;
    done.map_err(|error| Status::internal(error.to_string()))
}

fn malformed(error: Malformed) -> Status {
    Status::invalid_argument(error.to_string())
}

fn fatal(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("raft has stopped: {error}"))
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Peer for PeerService {
    type AppendStream = Answers<pb::AppendResponse>;
    type ForwardStream = Answers<pb::ForwardResponse>;

    async fn identify(&self, _: Request<pb::IdentifyRequest>) -> Result<Response<pb::IdentifyResponse>, Status> {
        let own = self.identity.get();
        // Before the metrics are borrowed: whoever borrows them twice waits for a writer that waits for it.
        let role = self.leadership.role();
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let members = metrics.membership_config.membership().nodes().map(|(id, member)| pb::Member {
            node_id: *id,
            incarnation: member.incarnation,
            peer_address: member.peer_address.clone(),
        });
        Ok(Response::new(pb::IdentifyResponse {
            node_id: own.node_id,
            incarnation: own.incarnation,
            cluster_id: own.cluster.map(|cluster| cluster.to_string()),
            members: members.collect(),
            address: self.client_address.clone(),
            applied: *self.shared.applied.borrow(),
            role: status::role_to_pb(role).into(),
            level_max: self.shared.level.level_max(),
        }))
    }

    async fn append(
        &self,
        request: Request<Streaming<pb::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        self.check(request.metadata())?;
        let (shared, leader_loss) = (Arc::clone(&self.shared), Arc::clone(&self.leader_loss));
        let requests = request.into_inner().scan((), move |(), message| {
            shared.note_leader_contact();
            // The first bad message ends the stream.
            std::future::ready(match message {
                Ok(message) => convert::append_from_pb(message)
                    .inspect_err(|error| tracing::error!(%error, "an append is refused"))
                    .ok(),
                Err(status) => {
                    tracing::debug!(%status, "an append stream broke");
                    leader_loss.stream_broke();
                    None
                }
            })
        });
        let answers = self.raft.stream_append(requests).take_until(self.stop.clone().cancelled_owned());
        let answers = answers.map(|result| match result {
            Ok(result) => {
                failpoint!("peer_append::answer::before", pass);
                Ok(convert::append_result_to_pb(result))
            }
            Err(error) => Err(fatal(error)),
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn vote(&self, request: Request<pb::VoteRequest>) -> Result<Response<pb::VoteResponse>, Status> {
        self.check(request.metadata())?;
        let message = request.into_inner();
        let pre_vote = message.pre_vote;
        let vote = convert::vote_request_from_pb(message).map_err(malformed)?;
        let answer = async {
            let answer = if pre_vote { self.raft.pre_vote(vote).await } else { self.raft.vote(vote).await };
            answer.map_err(fatal)
        };
        let answer = self.unless_stopped(answer).await?;
        failpoint!("peer_vote::answer::before", pass);
        Ok(Response::new(convert::vote_response_to_pb(&answer)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<pb::SnapshotChunk>>,
    ) -> Result<Response<pb::InstallSnapshotResponse>, Status> {
        self.check(request.metadata())?;
        let result = self.unless_stopped(self.receive_snapshot(request.into_inner())).await;
        if let Err(status) = &result {
            tracing::warn!(%status, "a snapshot was not installed");
        }
        result.map(Response::new)
    }

    async fn transfer_leader(
        &self,
        request: Request<pb::TransferLeaderRequest>,
    ) -> Result<Response<pb::TransferLeaderResponse>, Status> {
        self.check(request.metadata())?;
        let message = request.into_inner();
        let from = convert::vote_from_pb(message.from).map_err(malformed)?;
        let last = message.last.map(convert::log_id_from_pb).transpose().map_err(malformed)?;
        let transfer = TransferLeaderRequest::new(from, message.to, last);
        let answer = self.raft.handle_transfer_leader(transfer).await.map_err(fatal)?;
        answer.map_err(|error| Status::failed_precondition(error.to_string()))?;
        Ok(Response::new(pb::TransferLeaderResponse {}))
    }

    async fn forward(
        &self,
        request: Request<Streaming<pb::ForwardRequest>>,
    ) -> Result<Response<Self::ForwardStream>, Status> {
        self.check(request.metadata())?;
        let mut commands = request.into_inner();
        let (to, mut fates) = mpsc::unbounded_channel();
        let (proposer, shared) = (self.proposer.clone(), Arc::clone(&self.shared));
        // Ends with the stream; what was proposed goes on, its outcome finds nobody.
        spawn(async move {
            while let Ok(Some(message)) = commands.message().await {
                if let Err(bytes) = forward::receive(message, || shared.level_in_force(), &proposer, &to) {
                    tracing::error!(bytes, "a forwarded command is malformed or too large");
                    return;
                }
            }
        });
        let answers = async_stream::stream! {
            let mut settled = Vec::new();
            while fates.recv_many(&mut settled, OUTCOMES_PER_MESSAGE_MAX).await > 0 {
                failpoint!("peer_forward::answer::before", pass);
                let outcomes = settled.drain(..).map(|(id, fate)| forward::fate_to_pb(id, fate)).collect();
                yield Ok(pb::ForwardResponse { outcomes });
            }
        };
        Ok(Response::new(Box::pin(answers.take_until(self.stop.clone().cancelled_owned()))))
    }

    async fn state_hashes(
        &self,
        request: Request<pb::StateHashesRequest>,
    ) -> Result<Response<pb::StateHashesResponse>, Status> {
        self.check(request.metadata())?;
        Ok(Response::new(divergence::answer(&self.shared, request.into_inner().after)))
    }

    async fn read_index(
        &self,
        request: Request<pb::ReadIndexRequest>,
    ) -> Result<Response<pb::ReadIndexResponse>, Status> {
        self.check(request.metadata())?;
        let confirm = async { Ok(read_index::confirm(&self.raft, &self.shared).await) };
        let point = self.unless_stopped(confirm).await?;
        failpoint!("peer_read_index::answer::before", pass);
        let clock_ms = point.and_then(|point| point.clock).map(|clock| clock.0);
        Ok(Response::new(pb::ReadIndexResponse { index: point.map(|point| point.index), clock_ms }))
    }
}
