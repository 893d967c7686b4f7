use bytes::{Bytes, BytesMut};

/// Which protocol a connection speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    /// As every connection begins.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

/// A reply, in either protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nothing: a null.
    Nil,
    /// `+OK`.
    Status(String),
    /// With its code first, for example `ERR …`. Line breaks become spaces on the wire.
    Error(String),
    /// A number.
    Integer(i64),
    /// Bytes.
    Bulk(Bytes),
    /// Several.
    Array(Vec<Reply>),
    /// Pairs: a flat array in RESP2.
    Map(Vec<(Reply, Reply)>),
}

impl Reply {
    /// `+OK`.
    #[must_use]
    pub fn ok() -> Self {
        Self::Status("OK".into())
    }

    /// Appends the bytes that go to the client.
    pub fn encode(&self, protocol: Protocol, out: &mut BytesMut) {
        let _ = (protocol, out);
        unimplemented!("comes next")
    }
}
