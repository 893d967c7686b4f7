use bytes::{BufMut, Bytes, BytesMut};

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
    /// `+OK`. Line breaks become spaces on the wire.
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

    /// A text as a bulk string.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Bulk(Bytes::from(text.into()))
    }

    /// `ERR` and a text.
    pub(crate) fn err(text: impl std::fmt::Display) -> Self {
        Self::Error(format!("ERR {text}"))
    }

    /// Appends the bytes that go to the client. (Written here and not by the library that decodes: it keeps maps in the order of their
    /// hashes, and may fail.)
    pub fn encode(&self, protocol: Protocol, out: &mut BytesMut) {
        match self {
            Self::Nil if protocol == Protocol::Resp2 => out.put_slice(b"$-1\r\n"),
            Self::Nil => out.put_slice(b"_\r\n"),
            Self::Status(text) => line(b'+', text, out),
            Self::Error(text) => line(b'-', text, out),
            Self::Integer(number) => header(b':', number, out),
            Self::Bulk(bytes) => {
                header(b'$', bytes.len(), out);
                out.put_slice(bytes);
                out.put_slice(b"\r\n");
            }
            Self::Array(items) => {
                header(b'*', items.len(), out);
                items.iter().for_each(|item| item.encode(protocol, out));
            }
            Self::Map(pairs) => {
                match protocol {
                    Protocol::Resp2 => header(b'*', 2 * pairs.len(), out),
                    Protocol::Resp3 => header(b'%', pairs.len(), out),
                }
                for (key, value) in pairs {
                    key.encode(protocol, out);
                    value.encode(protocol, out);
                }
            }
        }
    }
}

fn header(sign: u8, number: impl std::fmt::Display, out: &mut BytesMut) {
    out.put_u8(sign);
    out.put_slice(number.to_string().as_bytes());
    out.put_slice(b"\r\n");
}

/// A line of text cannot hold a line break: whoever could put one into it could forge replies.
fn line(sign: u8, text: &str, out: &mut BytesMut) {
    out.put_u8(sign);
    out.extend(text.bytes().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
