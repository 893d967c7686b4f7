//! Connections to nodes, and which nodes those are.

use std::time::Duration;

use leasehold_client::{ClientOptions, Role, cluster_status};
use leasehold_platform::net::Dialer;
use leasehold_proto::v1::lock_service_client::LockServiceClient;
use leasehold_proto::v1::operation::Operation as Asked;
use leasehold_proto::v1::{ConnectRequest, ConnectResponse, Operation};
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};

use super::schedule::within;
use crate::exit::{Exit, Failure};

/// A renewal of many sessions has a long answer.
const DECODE_BYTES_MAX: usize = 64 << 20;
/// Operations put into one message at most, as the client library does.
const MESSAGE_OPERATIONS_MAX: usize = 256;

/// Which nodes are connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Target {
    /// The endpoints, in turn.
    All,
    /// The leader, whichever node that is.
    Leader,
    /// The followers, in turn.
    Follower,
}

/// The addresses that `target` means, asked of the cluster; at least one.
pub(super) async fn addresses(options: &ClientOptions, target: Target) -> Result<Vec<String>, Failure> {
    // Also for all of them: so a cluster without a leader is told apart from a slow one.
    let status = cluster_status(options).await?;
    let role = match target {
        Target::All => return Ok(options.endpoints.clone()),
        Target::Leader => Role::Leader,
        Target::Follower => Role::Follower,
    };
    let nodes = status.nodes.iter().filter(|node| node.up && node.role() == role);
    let addresses: Vec<String> = nodes.map(|node| node.address.clone()).collect();
    if addresses.is_empty() {
        return Err(Failure::new(Exit::Unavailable, "unavailable: the cluster has no node that --target asks for"));
    }
    Ok(addresses)
}

/// Opens one connection.
pub(super) async fn dial(address: &str, bound: Duration) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| format!("{address}: {error}"))?
        .connect_timeout(bound)
        .tcp_nodelay(true);
    let dialer = Dialer::tcp();
    let dialing = async { dialer.connect(&endpoint).await.map_err(|error| format!("{address}: {error}")) };
    within(bound, address, dialing).await
}

pub(super) fn client(channel: Channel) -> LockServiceClient<Channel> {
    LockServiceClient::new(channel).max_decoding_message_size(DECODE_BYTES_MAX)
}

/// An open `Connect` stream.
pub(super) struct Link {
    outgoing: mpsc::UnboundedSender<ConnectRequest>,
    pub(super) answers: tonic::Streaming<ConnectResponse>,
}

impl Link {
    pub(super) async fn open(channel: Channel, bound: Duration) -> Result<Self, String> {
        // Bounded by what is sent: one operation of each caller.
        let (outgoing, mut requests) = mpsc::unbounded_channel();
        let messages = futures_util::stream::poll_fn(move |context| requests.poll_recv(context));
        let opening =
            async { client(channel).connect(messages).await.map_err(|status| format!("{:?}", status.code())) };
        let answers = within(bound, "the stream", opening).await?.into_inner();
        Ok(Self { outgoing, answers })
    }

    /// Sends all of them. Should the stream have ended, its answers tell.
    pub(super) fn send(&self, asked: &mut Vec<(u64, Asked)>) {
        while !asked.is_empty() {
            let rest = asked.len().min(MESSAGE_OPERATIONS_MAX);
            let operation = |(id, operation)| Operation { id, timeout_ms: 0, operation: Some(operation) };
            let operations = asked.drain(..rest).map(operation).collect();
            let _ended = self.outgoing.send(ConnectRequest { operations });
        }
    }
}
