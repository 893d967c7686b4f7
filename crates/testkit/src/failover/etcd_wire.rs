//! The few calls of etcd's gRPC interface that its lock takes, with the fields that are needed of their messages.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

const CONNECT_MAX: Duration = Duration::from_secs(1);

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Header {
    #[prost(uint64, tag = "2")]
    pub(crate) member_id: u64,
    #[prost(int64, tag = "3")]
    pub(super) revision: i64,
    #[prost(uint64, tag = "4")]
    pub(crate) raft_term: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LeaseGrantRequest {
    #[prost(int64, tag = "1")]
    ttl_s: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LeaseGrantResponse {
    #[prost(int64, tag = "2")]
    id: i64,
    #[prost(int64, tag = "3")]
    ttl_s: i64,
    #[prost(string, tag = "4")]
    error: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LeaseId {
    #[prost(int64, tag = "1")]
    id: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LeaseKeepAliveResponse {
    #[prost(int64, tag = "3")]
    ttl_s: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LockRequest {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    #[prost(int64, tag = "2")]
    lease: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct LockResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<Header>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) key: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct UnlockRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HashKvRequest {
    #[prost(int64, tag = "1")]
    revision: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HashKvResponse {
    #[prost(uint32, tag = "2")]
    hash: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Empty {}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) header: Option<Header>,
    #[prost(uint64, tag = "4")]
    pub(crate) leader: u64,
    #[prost(uint64, tag = "7")]
    pub(crate) applied: u64,
}

/// A connection to one etcd node.
#[derive(Debug, Clone)]
pub(crate) struct EtcdChannel(Channel);

impl EtcdChannel {
    pub(crate) fn new(address: &str) -> Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.connect_timeout(CONNECT_MAX);
        Ok(Self(endpoint.tcp_nodelay(true).connect_lazy()))
    }

    async fn call<Q, A>(&self, path: &'static str, request: Q) -> Result<A>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await?;
        let codec = ProstCodec::<Q, A>::default();
        let answer = grpc.unary(tonic::Request::new(request), PathAndQuery::from_static(path), codec).await?;
        Ok(answer.into_inner())
    }

    /// A new lease; etcd counts whole seconds.
    pub(super) async fn lease_grant(&self, ttl: Duration) -> Result<i64> {
        let ttl_s = i64::try_from(ttl.as_secs())?;
        let granted: LeaseGrantResponse =
            self.call("/etcdserverpb.Lease/LeaseGrant", LeaseGrantRequest { ttl_s }).await?;
        ensure!(granted.error.is_empty(), "no lease: {}", granted.error);
        ensure!(granted.ttl_s == ttl_s, "a lease of {ttl_s} s was asked for, {} s were given", granted.ttl_s);
        Ok(granted.id)
    }

    /// Whether the lease lives on.
    pub(super) async fn lease_keep_alive(&self, id: i64) -> Result<bool> {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await?;
        let codec = ProstCodec::<LeaseId, LeaseKeepAliveResponse>::default();
        let path = PathAndQuery::from_static("/etcdserverpb.Lease/LeaseKeepAlive");
        let once = tokio_stream::once(LeaseId { id });
        let mut answers = grpc.streaming(tonic::Request::new(once), path, codec).await?.into_inner();
        let answer = answers.message().await?.context("no answer to a keep-alive")?;
        Ok(answer.ttl_s > 0)
    }

    /// Ends a lease, and with it the lock under it.
    pub(super) async fn lease_revoke(&self, id: i64) -> Result<()> {
        let _done: Empty = self.call("/etcdserverpb.Lease/LeaseRevoke", LeaseId { id }).await?;
        Ok(())
    }

    pub(super) async fn lock(&self, name: &str, lease: i64) -> Result<LockResponse> {
        self.call("/v3lockpb.Lock/Lock", LockRequest { name: name.into(), lease }).await
    }

    /// Gives a lock back by the key that it was granted under.
    pub(super) async fn unlock(&self, key: Vec<u8>) -> Result<()> {
        let _done: Empty = self.call("/v3lockpb.Lock/Unlock", UnlockRequest { key }).await?;
        Ok(())
    }

    /// Of all keys and values of the node, at its present revision.
    pub(crate) async fn hash(&self) -> Result<u32> {
        let answer: HashKvResponse =
            self.call("/etcdserverpb.Maintenance/HashKV", HashKvRequest { revision: 0 }).await?;
        Ok(answer.hash)
    }

    pub(crate) async fn status(&self) -> Result<StatusResponse> {
        self.call("/etcdserverpb.Maintenance/Status", Empty {}).await
    }
}
