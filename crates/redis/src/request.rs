use bytes::{Bytes, BytesMut};

/// One request: a command and its arguments, as they came. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The name of the command and its arguments.
    pub words: Vec<Bytes>,
}

/// Takes requests off what was read from a connection: arrays of bulk strings, or inline commands.
#[derive(Debug, Default)]
pub struct Decoder {}

/// The client speaks no protocol of ours; after the reply the connection is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ERR Protocol error: {problem}")]
pub struct ProtocolError {
    /// What is wrong, with the limit.
    pub problem: String,
}

impl Decoder {
    /// Most bytes that a request may have in all: what is read and no request yet is bounded by it.
    pub const REQUEST_BYTES_MAX: usize = 1 << 20;

    /// The next whole request, taken off the front of `buffer`; None when more bytes are needed. Refuses a request as soon as a
    /// length that it declares is beyond a bound, before its bytes have come.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Request>, ProtocolError> {
        let _ = buffer;
        unimplemented!("comes next")
    }
}
