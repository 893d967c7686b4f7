//! Connecting: the only module of the client that opens connections.

use std::time::Duration;

use leasehold_platform::net::Dialer;
use leasehold_proto::v1::ConnectResponse;
use leasehold_proto::v1::Operation;
use leasehold_proto::v1::cluster_service_client::ClusterServiceClient;
use leasehold_proto::v1::lock_service_client::LockServiceClient;
use leasehold_proto::v1::{ConnectRequest, RaiseLevelRequest, RaiseLevelResponse, StatusRequest, StatusResponse};
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};

use crate::runtime::within;

/// A peer that says nothing for these two together is gone, even if its kernel still answers.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// A page of locks with long queues is large.
const DECODE_BYTES_MAX: usize = 64 << 20;
/// Operations put into one frame at most.
const FRAME_OPERATIONS_MAX: usize = 256;

/// The stream of answers from one node.
pub(crate) type Inbound = tonic::Streaming<ConnectResponse>;

/// Opens the `Connect` stream to `address` (`HOST:PORT`). What is sent into `operations` goes out, as many to a frame as
/// are there. Says in words what failed.
pub(crate) async fn open(
    dialer: &Dialer,
    address: &str,
    bound: Duration,
    operations: mpsc::Receiver<Operation>,
) -> Result<Inbound, String> {
    let opening = async {
        let channel = dial(dialer, address, bound).await?;
        let mut client = LockServiceClient::new(channel).max_decoding_message_size(DECODE_BYTES_MAX);
        let answers = client.connect(frames(operations)).await.map_err(|status| status_text(&status))?;
        Ok(answers.into_inner())
    };
    within(bound, opening).await.unwrap_or_else(|| Err(format!("no answer within {bound:?}")))
}

/// Asks the node at `address` for the state of its cluster.
pub(crate) async fn cluster_status(dialer: &Dialer, address: &str, bound: Duration) -> Result<StatusResponse, String> {
    let asking = async {
        let mut client = ClusterServiceClient::new(dial(dialer, address, bound).await?);
        let answer = client.status(StatusRequest {}).await.map_err(|status| status_text(&status))?;
        Ok(answer.into_inner())
    };
    within(bound, asking).await.unwrap_or_else(|| Err(format!("no answer within {bound:?}")))
}

/// Asks the node at `address` to raise the cluster's format level.
pub(crate) async fn raise_level(
    dialer: &Dialer,
    address: &str,
    (connect_bound, bound): (Duration, Duration),
    level: Option<u32>,
) -> Result<RaiseLevelResponse, tonic::Status> {
    let channel = match within(connect_bound, dial(dialer, address, connect_bound)).await {
        Some(Ok(channel)) => channel,
        Some(Err(problem)) => return Err(tonic::Status::unavailable(problem)),
        None => return Err(tonic::Status::unavailable(format!("no answer within {connect_bound:?}"))),
    };
    let mut client = ClusterServiceClient::new(channel);
    let request = RaiseLevelRequest { level: level.unwrap_or(0) };
    match within(bound, client.raise_level(request)).await {
        Some(answer) => answer.map(tonic::Response::into_inner),
        None => Err(tonic::Status::deadline_exceeded(format!("no answer within {bound:?}"))),
    }
}

async fn dial(dialer: &Dialer, address: &str, bound: Duration) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| error.to_string())?
        .connect_timeout(bound)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    dialer.connect(&endpoint).await.map_err(|error| with_causes(&error))
}

fn frames(mut operations: mpsc::Receiver<Operation>) -> impl futures_util::Stream<Item = ConnectRequest> {
    let mut batch = Vec::new();
    futures_util::stream::poll_fn(move |cx| {
        operations.poll_recv_many(cx, &mut batch, FRAME_OPERATIONS_MAX).map(|count| {
            let operations = std::mem::take(&mut batch);
            (count > 0).then_some(ConnectRequest { operations })
        })
    })
}

fn status_text(status: &tonic::Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

/// tonic's own text is only "transport error"; what happened stands in the causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
