//! The few calls of etcd's gRPC interface that are compared, with the fields that are needed of their messages.

use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Header {
    #[prost(uint64, tag = "2")]
    pub(super) member_id: u64,
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
}

#[derive(Clone, PartialEq, prost::Message)]
struct LeaseId {
    #[prost(int64, tag = "1")]
    id: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LockRequest {
    #[prost(bytes = "vec", tag = "1")]
    name: Vec<u8>,
    #[prost(int64, tag = "2")]
    lease: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LockResponse {
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
}

/// A key: of an unlock, a deletion.
#[derive(Clone, PartialEq, prost::Message)]
struct Key {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

/// `EQUAL` and `CREATE` of a comparison: the revision at which the key was made; 0 where it is not there.
#[derive(Clone, PartialEq, prost::Message)]
struct Compare {
    #[prost(int32, tag = "1")]
    result: i32,
    #[prost(int32, tag = "2")]
    target: i32,
    #[prost(bytes = "vec", tag = "3")]
    key: Vec<u8>,
    #[prost(oneof = "CompareWith", tags = "5")]
    with: Option<CompareWith>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum CompareWith {
    #[prost(int64, tag = "5")]
    CreateRevision(i64),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Put {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
    #[prost(int64, tag = "3")]
    lease: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Operation {
    #[prost(message, optional, tag = "2")]
    put: Option<Put>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TxnRequest {
    #[prost(message, repeated, tag = "1")]
    compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    success: Vec<Operation>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TxnResponse {
    #[prost(bool, tag = "2")]
    succeeded: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DeleteResponse {
    #[prost(int64, tag = "2")]
    deleted: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Empty {}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<Header>,
    #[prost(uint64, tag = "4")]
    pub(super) leader: u64,
}

/// Calls on one connection. A clone shares it.
#[derive(Debug, Clone)]
pub(super) struct EtcdClient(Grpc<Channel>);

impl EtcdClient {
    pub(super) fn new(channel: Channel) -> Self {
        Self(Grpc::new(channel))
    }

    async fn call<Q, A>(&mut self, path: &'static str, request: Q) -> Result<A, String>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        self.0.ready().await.map_err(|error| error.to_string())?;
        let codec = ProstCodec::<Q, A>::default();
        let answer = self.0.unary(tonic::Request::new(request), PathAndQuery::from_static(path), codec).await;
        Ok(answer.map_err(|status| format!("{:?}: {}", status.code(), status.message()))?.into_inner())
    }

    pub(super) async fn status(&mut self) -> Result<StatusResponse, String> {
        self.call("/etcdserverpb.Maintenance/Status", Empty {}).await
    }

    /// A new lease of so many seconds.
    pub(super) async fn lease_grant(&mut self, ttl_s: i64) -> Result<i64, String> {
        let granted: LeaseGrantResponse =
            self.call("/etcdserverpb.Lease/LeaseGrant", LeaseGrantRequest { ttl_s }).await?;
        Ok(granted.id)
    }

    /// Ends a lease, and every key under it.
    pub(super) async fn lease_revoke(&mut self, id: i64) -> Result<(), String> {
        let _done: Empty = self.call("/etcdserverpb.Lease/LeaseRevoke", LeaseId { id }).await?;
        Ok(())
    }

    /// Makes the key if it is not there; says whether it did.
    pub(super) async fn create(&mut self, key: &str, lease: i64) -> Result<bool, String> {
        let key = key.as_bytes().to_vec();
        let with = Some(CompareWith::CreateRevision(0));
        let compare = vec![Compare { result: 0, target: 1, key: key.clone(), with }];
        let success = vec![Operation { put: Some(Put { key, value: Vec::new(), lease }) }];
        let done: TxnResponse = self.call("/etcdserverpb.KV/Txn", TxnRequest { compare, success }).await?;
        Ok(done.succeeded)
    }

    /// Deletes the key; says whether it was there.
    pub(super) async fn delete(&mut self, key: &str) -> Result<bool, String> {
        let key = key.as_bytes().to_vec();
        let done: DeleteResponse = self.call("/etcdserverpb.KV/DeleteRange", Key { key }).await?;
        Ok(done.deleted > 0)
    }

    /// Waits for a lock; the key that it is held by.
    pub(super) async fn lock(&mut self, name: &str, lease: i64) -> Result<Vec<u8>, String> {
        let request = LockRequest { name: name.as_bytes().to_vec(), lease };
        let locked: LockResponse = self.call("/v3lockpb.Lock/Lock", request).await?;
        Ok(locked.key)
    }

    pub(super) async fn unlock(&mut self, key: Vec<u8>) -> Result<(), String> {
        let _done: Empty = self.call("/v3lockpb.Lock/Unlock", Key { key }).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    /// Byte for byte what etcd's own client sends: a create revision of 0 is there although it is the default.
    #[test]
    fn a_create_compares_the_create_revision_with_zero() {
        let with = Some(CompareWith::CreateRevision(0));
        let compare = Compare { result: 0, target: 1, key: b"k".to_vec(), with };
        assert_eq!(compare.encode_to_vec(), [0x10, 1, 0x1a, 1, b'k', 0x28, 0]);
    }
}
