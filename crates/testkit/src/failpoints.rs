//! The failpoints of a running node, over its HTTP listener. Only a binary built with the feature `failpoints` has them.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Name of the variable that arms failpoints from the start of a node: `NAME=ACTION;NAME=ACTION`.
pub const VARIABLE: &str = "LEASEHOLD_FAILPOINTS";
/// A node answers this fast, or not at all.
const ANSWER_MAX: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// One failpoint as a node tells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Failpoint {
    /// `area::step::before` or `area::step::after`.
    pub name: String,
    /// What happens there: an [action](Failpoints::set), or `off`.
    pub action: String,
    /// How often the node came by since it was started.
    pub hits: u64,
    /// How often the action was taken since it was set.
    pub fired: u64,
    /// How many are waiting there right now (action `pause`).
    pub paused: u64,
}

/// Sets and reads the failpoints of one node.
#[derive(Debug, Clone)]
pub struct Failpoints {
    address: String,
}

impl Failpoints {
    /// Of the node whose HTTP listener is at `address`.
    #[must_use]
    pub fn at(address: impl Into<String>) -> Self {
        Self { address: address.into() }
    }

    /// All failpoints that the binary has.
    pub async fn list(&self) -> Result<Vec<Failpoint>> {
        let text = self.call("GET", "/failpoints", "").await?;
        serde_json::from_str(&text).with_context(|| format!("a list of failpoints: {text}"))
    }

    /// One of them.
    pub async fn get(&self, name: &str) -> Result<Failpoint> {
        let found = self.list().await?.into_iter().find(|point| point.name == name);
        found.with_context(|| format!("there is no failpoint {name}"))
    }

    /// How often the node came by since it was started.
    pub async fn hits(&self, name: &str) -> Result<u64> {
        Ok(self.get(name).await?.hits)
    }

    /// Has something happen there from now on: `off`, `abort` (the process is gone at once, as by kill -9), `error(EIO)`,
    /// `error(ENOSPC)`, `delay(250ms)`, `pause` (until it is set to anything else), `skip` (the step is left out but reported as
    /// done: an fsync that does nothing). `,after=N` leaves the first N out, `,times=N` ends it after N. An error that the node
    /// cannot return from there, or a step that cannot be left out, is refused.
    pub async fn set(&self, name: &str, action: &str) -> Result<()> {
        self.call("PUT", &format!("/failpoints/{name}"), action).await.map(drop)
    }

    /// All of them off; whatever was paused goes on.
    pub async fn clear(&self) -> Result<()> {
        self.call("DELETE", "/failpoints", "").await.map(drop)
    }

    async fn call(&self, method: &str, path: &str, body: &str) -> Result<String> {
        let call = self.exchange(method, path, body);
        let answer = tokio::time::timeout(ANSWER_MAX, call).await;
        answer.with_context(|| format!("no answer to {method} {path} within {ANSWER_MAX:?}"))?
    }

    async fn exchange(&self, method: &str, path: &str, body: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.address).await?;
        let (host, length) = (&self.address, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let Some((head, body)) = answer.split_once("\r\n\r\n") else {
            bail!("{method} {path}: no whole answer: {answer}")
        };
        let status = head.lines().next().unwrap_or_default();
        ensure!(
            status.split(' ').nth(1).is_some_and(|code| code.starts_with('2')),
            "{method} {path}: {status}: {body}"
        );
        Ok(body.to_owned())
    }
}
