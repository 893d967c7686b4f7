//! Redis: one server that has every write on its disk before it answers. It keeps one copy.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::BytesMut;
use leasehold_client::clock::Clock;
use redis_protocol::resp2::decode::decode_bytes_mut;
use redis_protocol::resp2::types::BytesFrame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::super::record::Record;
use super::super::schedule::{Schedule, Stop};
use super::pipeline::{self, Dialect, Line};
use super::processes::{Processes, find, first_line, free_ports, unavailable};
use super::seat::{Floor, Reply, Request, Seat};
use super::{About, Job, Work};
use crate::exit::Failure;

/// Deletes the key if it is the caller's: what every lock library sends.
const UNLOCK: &str = "if redis.call('get',KEYS[1]) == ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end";
/// What stands in the key: libraries have 20 to 40 random bytes there.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const CALL_MAX: Duration = Duration::from_secs(5);

pub(super) struct Redis {
    pub(super) processes: Processes,
    address: String,
    version: String,
}

pub(super) fn program() -> Result<PathBuf, Failure> {
    find("redis-server", "redis-server")
}

impl Redis {
    pub(super) async fn start(folder: &Path) -> Result<Self, Failure> {
        let program = program()?;
        let port = free_ports(1)?[0];
        let folder = folder.join("redis");
        std::fs::create_dir(&folder).map_err(|error| unavailable(&format!("{}: {error}", folder.display())))?;
        let mut processes = Processes::default();
        let mut command = Command::new(&program);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no"]);
        command.args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"]).arg("--dir").arg(&folder);
        processes.start("redis", &folder, &mut command)?;
        let address = format!("127.0.0.1:{port}");
        let up = || async {
            let mut stream = connect(&address).await.ok()?;
            matches!(call(&mut stream, &["PING"]).await, Ok(BytesFrame::SimpleString(_))).then_some(())
        };
        processes.wait("redis-server answers", up).await?;
        let version = first_line(&program, "--version").await;
        let version = version.split_whitespace().find_map(|word| word.strip_prefix("v=")).unwrap_or("").to_owned();
        Ok(Self { processes, address, version })
    }

    pub(super) fn about(&self, work: Work) -> About {
        About {
            name: "redis",
            version: self.version.clone(),
            durability: "1 server, one copy: on its disk (appendfsync always) before an answer; nothing is replicated",
            operations: match work {
                Work::Contended => {
                    "SET NX PX asked again at once (it has no queue), compare-and-delete script; pipelined"
                }
                _ => "SET NX PX, compare-and-delete script by EVALSHA; pipelined",
            },
        }
    }

    pub(super) async fn measure(&mut self, job: &Job, stop: &Stop) -> Result<Record, Failure> {
        self.processes.check()?;
        let clock = Clock::system();
        let floor = Floor::new(job, clock.now());
        let failed = |problem: String| unavailable(&format!("redis: {problem}"));
        let mut first = connect(&self.address).await.map_err(failed)?;
        let BytesFrame::BulkString(sha) = call(&mut first, &["SCRIPT", "LOAD", UNLOCK]).await.map_err(failed)? else {
            return Err(failed("the script is not taken".to_owned()));
        };
        let sha = String::from_utf8_lossy(&sha).into_owned();
        if job.work == Work::TryBusy {
            let ttl = job.long_ttl().as_millis().to_string();
            for lock in &floor.shared {
                call(&mut first, &["SET", &lock.name, "somebody", "NX", "PX", &ttl]).await.map_err(failed)?;
            }
        }
        let mut lines = Vec::with_capacity(job.connections);
        for _ in 0..job.connections {
            let stream = connect(&self.address).await.map_err(failed)?;
            let dialect = Resp { sha: sha.clone(), ttl_ms: job.ttl.as_millis().to_string() };
            lines.push(Line { stream, dialect });
        }
        let schedule = Schedule::begin(&clock, job.warm_up, job.length, stop);
        let ended = pipeline::drive(lines, floor.seats(job), &schedule).await;
        if job.work == Work::TryBusy {
            for lock in &floor.shared {
                call(&mut first, &["DEL", &lock.name]).await.map_err(failed)?;
            }
        }
        ended
    }
}

async fn connect(address: &str) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    Ok(stream)
}

/// One command and its reply, alone on a connection.
async fn call(stream: &mut TcpStream, words: &[&str]) -> Result<BytesFrame, String> {
    let calling = async {
        let mut out = Vec::new();
        encode(words, &mut out);
        stream.write_all(&out).await.map_err(|error| error.to_string())?;
        let mut input = BytesMut::new();
        loop {
            if let Some(frame) = decode(&mut input)? {
                return Ok(frame);
            }
            if stream.read_buf(&mut input).await.map_err(|error| error.to_string())? == 0 {
                return Err("the connection was closed".to_owned());
            }
        }
    };
    tokio::time::timeout(CALL_MAX, calling).await.unwrap_or_else(|_| Err(format!("no reply within {CALL_MAX:?}")))
}

/// A command as clients send it: an array of bulk strings.
fn encode(words: &[&str], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

fn decode(input: &mut BytesMut) -> Result<Option<BytesFrame>, String> {
    if input.is_empty() {
        return Ok(None);
    }
    let decoded = decode_bytes_mut(input).map_err(|error| format!("not a reply: {error}"))?;
    match decoded {
        Some((BytesFrame::Error(error), ..)) => Err(error.to_string()),
        Some((frame, ..)) => Ok(Some(frame)),
        None => Ok(None),
    }
}

struct Resp {
    sha: String,
    ttl_ms: String,
}

impl Dialect for Resp {
    fn write(&mut self, request: Request, seat: &Seat, out: &mut Vec<u8>) {
        match request {
            Request::Take => encode(&["SET", &seat.lock, TOKEN, "NX", "PX", &self.ttl_ms], out),
            Request::Give => encode(&["EVALSHA", &self.sha, "1", &seat.lock, TOKEN], out),
        }
    }

    fn read(&mut self, request: Request, input: &mut BytesMut) -> Result<Option<Reply>, String> {
        let Some(frame) = decode(input)? else { return Ok(None) };
        Ok(Some(match (request, frame) {
            (Request::Take, BytesFrame::SimpleString(_)) => Reply::Taken,
            (Request::Take, BytesFrame::Null) => Reply::Held,
            (Request::Give, BytesFrame::Integer(1)) => Reply::Given,
            (Request::Give, BytesFrame::Integer(_)) => Reply::NotHeld,
            (request, other) => return Err(format!("{request:?} is answered with {other:?}")),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_one_by_one_and_only_when_whole() {
        let mut dialect = Resp { sha: String::new(), ttl_ms: String::new() };
        let mut input = BytesMut::from(&b"+OK\r\n$-1\r\n:1\r\n:0\r"[..]);
        let mut read = |request| dialect.read(request, &mut input);
        assert_eq!(read(Request::Take), Ok(Some(Reply::Taken)));
        assert_eq!(read(Request::Take), Ok(Some(Reply::Held)));
        assert_eq!(read(Request::Give), Ok(Some(Reply::Given)));
        assert_eq!(read(Request::Give), Ok(None));
        let mut input = BytesMut::from(&b"-LOADING wait\r\n"[..]);
        assert_eq!(dialect.read(Request::Take, &mut input), Err("LOADING wait".to_owned()));
    }
}
