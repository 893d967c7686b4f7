//! A real redis-server of its own: in a temporary folder, on loopback, ended by pid.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::RespConnection;
use super::tools::Runner;
use crate::cluster::{PATIENCE, eventually, free_port};

/// Starts that may fail because somebody took the port.
const PORT_CLASHES_MAX: usize = 5;

/// How it keeps what it is told.
#[derive(Debug, Clone, Copy, Default)]
pub struct RedisOptions {
    /// Every write is on the disk before it is answered (`appendonly yes`, `appendfsync always`). Else nothing is kept.
    pub durable: bool,
}

/// A running server.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl RedisServer {
    /// Starts it and waits until it answers.
    pub async fn start(server: &Runner, options: RedisOptions) -> Result<Self> {
        for _ in 0..PORT_CLASHES_MAX {
            let mut started = Self::spawn(server, options)?;
            let address = started.address();
            let answers = || async {
                let mut connection = RespConnection::connect(&address).await.ok()?;
                (connection.call(&["PING"]).await.ok()? == b"+PONG\r\n").then_some(())
            };
            let ended = started.child.try_wait()?.is_some();
            if !ended && eventually(PATIENCE, "redis-server answers", answers).await.is_ok() {
                return Ok(started);
            }
            if started.child.try_wait()?.is_none() {
                bail!("redis-server does not answer: {}", started.log());
            }
        }
        bail!("redis-server ended {PORT_CLASHES_MAX} times at once")
    }

    fn spawn(server: &Runner, options: RedisOptions) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("leasehold-redis-").tempdir()?;
        let port = free_port()?;
        let log = File::create(folder.path().join("redis.log"))?;
        let mut command = server.command();
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"]);
        command.arg("--dir").arg(folder.path());
        if options.durable {
            command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("redis-server does not start")?;
        Ok(Self { child, port, folder })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where it keeps its files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("redis.log")).unwrap_or_default()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Nothing can be done about a process that cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
