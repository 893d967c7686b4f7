//! HTTP/1.1, as little of it as one connection to one server needs.

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Most bytes of an answer's body.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Most lines of an answer's head.
const HEAD_LINES_MAX: usize = 100;

pub(crate) struct HttpConnection {
    stream: BufReader<TcpStream>,
    host: String,
}

impl HttpConnection {
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), host: address.to_owned() })
    }

    /// Sends JSON; the JSON of a good answer. The connection stays open.
    pub(crate) async fn post(&mut self, path: &str, body: &str) -> Result<serde_json::Value> {
        let (host, length) = (&self.host, body.len());
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.stream.write_all(request.as_bytes()).await?;
        let status = self.line().await?;
        let mut length = 0;
        for _ in 0..HEAD_LINES_MAX {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().context("Content-Length")?;
            }
        }
        ensure!(length <= BODY_BYTES_MAX, "an answer of {length} bytes");
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        let text = String::from_utf8_lossy(&body);
        ensure!(status.starts_with("HTTP/1.1 200"), "{path}: {status}: {text}");
        serde_json::from_str(&text).with_context(|| format!("{path}: {text}"))
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line).await?;
        ensure!(read > 0, "the connection was closed");
        Ok(line.trim_end().to_owned())
    }
}
