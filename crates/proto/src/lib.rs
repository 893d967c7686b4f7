//! The wire messages of Leasehold, generated from `proto/`.
//!
//! [`v1`] is what clients speak, [`dapr`] what clients of Dapr speak, [`peer`] what nodes speak among themselves. Nothing here has behaviour.
#![allow(missing_docs, unreachable_pub, clippy::all)]

/// The client API, package `leasehold.v1`.
pub mod v1 {
    tonic::include_proto!("leasehold.v1");
}

/// The locks of Dapr's runtime API, package `dapr.proto.runtime.v1`.
pub mod dapr {
    tonic::include_proto!("dapr.proto.runtime.v1");
}

/// Node to node, package `leasehold.peer.v1`.
pub mod peer {
    tonic::include_proto!("leasehold.peer.v1");
}

/// The encoded `FileDescriptorSet` of the client API, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/leasehold.bin"));

/// The same of the API for clients of Dapr.
pub const DAPR_FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dapr.bin"));
