//! A small client of the tests' own.

use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use leasehold_frontend::{FrontendOptions, RedisOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Server, soon};

/// A reply, in either protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Nil,
    Status(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

pub(crate) fn ok() -> Value {
    Value::Status("OK".into())
}

pub(crate) fn bulk(text: &str) -> Value {
    Value::Bulk(text.into())
}

impl Value {
    pub(crate) fn error(&self) -> &str {
        match self {
            Self::Error(text) => text,
            other => panic!("{other:?} is no error"),
        }
    }

    pub(crate) fn integer(&self) -> i64 {
        match self {
            Self::Integer(number) => *number,
            other => panic!("{other:?} is no integer"),
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Bulk(bytes) => String::from_utf8(bytes.clone()).unwrap(),
            other => panic!("{other:?} is no text"),
        }
    }
}

/// A connection.
pub(crate) struct Resp {
    pub(crate) stream: TcpStream,
    buffer: BytesMut,
}

/// Words as a request.
pub(crate) fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).bytes());
        bytes.extend(*word);
        bytes.extend(b"\r\n");
    }
    bytes
}

/// A line of words without spaces in them as a request.
pub(crate) fn line(line: &str) -> Vec<u8> {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    request(&words)
}

impl Resp {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self { stream: soon(TcpStream::connect(address)).await.unwrap(), buffer: BytesMut::new() }
    }

    pub(crate) async fn to(server: &Server) -> Self {
        Self::connect(server.redis).await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        soon(self.stream.write_all(bytes)).await.unwrap();
    }

    /// Sends a line of words, and reads the reply.
    pub(crate) async fn call(&mut self, words: &str) -> Value {
        self.send(&line(words)).await;
        self.reply().await
    }

    pub(crate) async fn call_words(&mut self, words: &[&[u8]]) -> Value {
        self.send(&request(words)).await;
        self.reply().await
    }

    /// `EVAL script n keys… args…`.
    pub(crate) async fn eval(&mut self, script: &str, keys: &[&str], args: &[&str]) -> Value {
        let count = keys.len().to_string();
        let mut words = vec![b"EVAL".as_slice(), script.as_bytes(), count.as_bytes()];
        words.extend(keys.iter().chain(args).map(|word| word.as_bytes()));
        self.call_words(&words).await
    }

    pub(crate) async fn reply(&mut self) -> Value {
        soon(self.next()).await.expect("a reply")
    }

    /// Whether the other side has ended the connection, without a word.
    pub(crate) async fn is_closed(&mut self) -> bool {
        assert!(self.buffer.is_empty(), "unread: {:?}", self.buffer);
        let mut byte = [0];
        matches!(soon(self.stream.read(&mut byte)).await, Ok(0) | Err(_))
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer.split_to(end);
                self.buffer.advance(2);
                return Some(String::from_utf8(line.to_vec()).unwrap());
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Option<()> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }

    async fn next(&mut self) -> Option<Value> {
        let line = self.line().await?;
        let (kind, rest) = line.split_at(1);
        let number = || rest.parse::<i64>().unwrap();
        Some(match kind {
            "+" => Value::Status(rest.into()),
            "-" => Value::Error(rest.into()),
            ":" => Value::Integer(number()),
            "_" => Value::Nil,
            "$" | "*" if number() < 0 => Value::Nil,
            "$" => {
                let length = usize::try_from(number()).unwrap();
                while self.buffer.len() < length + 2 {
                    self.more().await?;
                }
                let bytes = self.buffer.split_to(length).to_vec();
                self.buffer.advance(2);
                Value::Bulk(bytes)
            }
            "*" => {
                let mut items = Vec::new();
                for _ in 0..number() {
                    items.push(Box::pin(self.next()).await?);
                }
                Value::Array(items)
            }
            "%" => {
                let mut pairs = Vec::new();
                for _ in 0..number() {
                    pairs.push((Box::pin(self.next()).await?, Box::pin(self.next()).await?));
                }
                Value::Map(pairs)
            }
            _ => panic!("no reply begins like {line:?}"),
        })
    }
}

/// A server whose Redis door has these options.
pub(crate) async fn start(redis: RedisOptions) -> Server {
    Server::start_with(FrontendOptions { redis, ..FrontendOptions::default() }).await
}

/// A server with the usual options, and a connection.
pub(crate) async fn start_and_connect() -> (Server, Resp) {
    let server = Server::start().await;
    let client = Resp::to(&server).await;
    (server, client)
}
