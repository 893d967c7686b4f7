//! ZooKeeper: three nodes as Debian packages them. A lock is an ephemeral node that is created and deleted.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Buf, BufMut, BytesMut};
use leasehold_client::clock::Clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::super::connection::Target;
use super::super::record::Record;
use super::super::schedule::{Schedule, Stop};
use super::pipeline::{self, Dialect, Line};
use super::processes::{Processes, find, free_ports, unavailable};
use super::seat::{Floor, Reply, Request, Seat};
use super::{About, Job, Work};
use crate::exit::Failure;

const NODES: usize = 3;
/// Where Debian has the script that starts a server.
const SCRIPT: &str = "/usr/share/zookeeper/bin/zkServer.sh";
const PACKAGE: &str = "zookeeper";
const CALL_MAX: Duration = Duration::from_secs(5);
/// Longest time to live of a session, in ms: nobody renews it during a run.
const SESSION_MS_MAX: u64 = 86_400_000;
const CREATE: i32 = 1;
const DELETE: i32 = 2;
/// Ends a session, and the ephemeral nodes under it: 8 bytes, request number 1, kind -11.
const CLOSE: [u8; 12] = [0, 0, 0, 8, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xf5];
const EPHEMERAL: i32 = 1;
const NO_NODE: i32 = -101;
const NODE_EXISTS: i32 = -110;
/// All rights, to everybody.
const ALL_RIGHTS: i32 = 31;

pub(super) struct Zookeeper {
    pub(super) processes: Processes,
    addresses: Vec<String>,
    version: String,
}

pub(super) fn program() -> Result<PathBuf, Failure> {
    find("java", "default-jre-headless")?;
    let script = PathBuf::from(SCRIPT);
    if script.is_file() { Ok(script) } else { find("zkServer.sh", PACKAGE) }
}

impl Zookeeper {
    pub(super) async fn start(folder: &Path) -> Result<Self, Failure> {
        let program = program()?;
        let ports = free_ports(3 * NODES)?;
        let (clients, rest) = ports.split_at(NODES);
        let (peers, elections) = rest.split_at(NODES);
        let mut processes = Processes::default();
        for id in 1..=NODES {
            let failed = |error: std::io::Error| unavailable(&format!("zookeeper-{id}: {error}"));
            let data = folder.join(format!("zookeeper-{id}"));
            std::fs::create_dir(&data).map_err(failed)?;
            std::fs::write(data.join("myid"), id.to_string()).map_err(failed)?;
            let mut text = format!(
                "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\n\
                 admin.enableServer=false\nmaxClientCnxns=0\nmaxSessionTimeout={SESSION_MS_MAX}\n",
                data.display(),
                clients[id - 1]
            );
            for (number, (peer, election)) in (1..).zip(peers.iter().zip(elections)) {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "server.{number}=127.0.0.1:{peer}:{election}");
            }
            let file = folder.join(format!("zookeeper-{id}.cfg"));
            std::fs::write(&file, text).map_err(failed)?;
            let mut command = Command::new(&program);
            command.arg("start-foreground").arg(&file).env("ZOO_LOG_DIR", &data).env("JMXDISABLE", "true");
            processes.start(&format!("zookeeper-{id}"), folder, &mut command)?;
        }
        let addresses: Vec<String> = clients.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        processes.wait("zookeeper has a leader", || modes(&addresses)).await?;
        let words = four_letters(&addresses[0], "srvr").await.unwrap_or_default();
        let version = words.split(": ").nth(1).and_then(|rest| rest.split('-').next()).unwrap_or("").to_owned();
        Ok(Self { processes, addresses, version })
    }

    pub(super) fn about(&self) -> About {
        About {
            name: "zookeeper",
            version: self.version.clone(),
            durability: "3 nodes, on disk (forceSync, the default) on a majority before an answer",
            operations: "create of an ephemeral node under a session that is there already, delete; pipelined",
        }
    }

    async fn targets(&self, target: Target) -> Result<Vec<String>, Failure> {
        if target == Target::All {
            return Ok(self.addresses.clone());
        }
        let modes = modes(&self.addresses).await.ok_or_else(|| unavailable("zookeeper has no leader"))?;
        let wanted = |leads: bool| leads == (target == Target::Leader);
        let found = self.addresses.iter().zip(modes).filter(|(_, leads)| wanted(*leads));
        Ok(found.map(|(address, _)| address.clone()).collect())
    }

    pub(super) async fn measure(&mut self, job: &Job, stop: &Stop) -> Result<Record, Failure> {
        self.processes.check()?;
        let failed = |problem: String| unavailable(&format!("zookeeper: {problem}"));
        let targets = self.targets(job.target).await?;
        let clock = Clock::system();
        let floor = Floor::new(job, clock.now());
        let session_ms = u64::try_from(job.long_ttl().as_millis()).unwrap_or(SESSION_MS_MAX).min(SESSION_MS_MAX);
        let mut holder = connect(&targets[0], session_ms).await.map_err(failed)?;
        if job.work == Work::TryBusy {
            for lock in &floor.shared {
                let mut out = Vec::new();
                create(1, &lock.name, &mut out);
                call(&mut holder, &out).await.map_err(failed)?;
            }
        }
        let mut lines = Vec::with_capacity(job.connections);
        for number in 0..job.connections {
            let stream = connect(&targets[number % targets.len()], session_ms).await.map_err(failed)?;
            lines.push(Line { stream, dialect: Jute { xid: 0 } });
        }
        let schedule = Schedule::begin(&clock, job.warm_up, job.length, stop);
        let ended = pipeline::drive(lines, floor.seats(job), &schedule).await;
        // Its nodes end with the session, this way or when its time is over.
        let _closed = call(&mut holder, &CLOSE).await;
        ended
    }
}

/// Which of the nodes leads, once one does and the others follow.
async fn modes(addresses: &[String]) -> Option<Vec<bool>> {
    let mut leads = Vec::new();
    for address in addresses {
        let text = four_letters(address, "srvr").await.ok()?;
        let mode = text.lines().find_map(|line| line.strip_prefix("Mode: "))?;
        leads.push(mode == "leader");
    }
    (leads.iter().filter(|leads| **leads).count() == 1).then_some(leads)
}

/// One of ZooKeeper's commands in plain text.
async fn four_letters(address: &str, word: &str) -> Result<String, String> {
    let asking = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(word.as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok::<_, std::io::Error>(text)
    };
    let asked = tokio::time::timeout(CALL_MAX, asking).await.map_err(|_| "no answer".to_owned())?;
    asked.map_err(|error| error.to_string())
}

/// A connection with a new session.
async fn connect(address: &str, session_ms: u64) -> Result<TcpStream, String> {
    let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    // Protocol 0, nothing seen, the time to live, a new session with an empty password, not read-only.
    out.put_i32(0);
    out.put_i64(0);
    out.put_i32(i32::try_from(session_ms).unwrap_or(i32::MAX));
    out.put_i64(0);
    out.put_i32(16);
    out.put_bytes(0, 16);
    out.put_u8(0);
    let mut framed = Vec::new();
    framed.put_i32(i32::try_from(out.len()).unwrap_or(0));
    framed.extend_from_slice(&out);
    let answer = call(&mut stream, &framed).await?;
    // Protocol, time to live: 0 is a refusal.
    let granted = answer.get(4..8).map(|mut bytes| bytes.get_i32());
    if granted.is_some_and(|ttl| ttl > 0) { Ok(stream) } else { Err("no session is given".to_owned()) }
}

/// One request and its whole answer, alone on a connection.
async fn call(stream: &mut TcpStream, request: &[u8]) -> Result<Vec<u8>, String> {
    let calling = async {
        stream.write_all(request).await?;
        let length = stream.read_i32().await?;
        let mut answer = vec![0; usize::try_from(length).unwrap_or(0)];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let called = tokio::time::timeout(CALL_MAX, calling).await.map_err(|_| "no answer in time".to_owned())?;
    called.map_err(|error| error.to_string())
}

/// Begins a request: room for its length, its number, its kind.
fn header(xid: i32, kind: i32, out: &mut Vec<u8>) {
    out.put_i32(0);
    out.put_i32(xid);
    out.put_i32(kind);
}

/// Writes the length of a request that stands alone in `out`.
fn finish(out: &mut [u8]) {
    let length = i32::try_from(out.len().saturating_sub(4)).unwrap_or(0);
    if let Some(head) = out.first_chunk_mut::<4>() {
        *head = length.to_be_bytes();
    }
}

fn text(text: &str, out: &mut Vec<u8>) {
    out.put_i32(i32::try_from(text.len()).unwrap_or(0));
    out.extend_from_slice(text.as_bytes());
}

fn path(name: &str, out: &mut Vec<u8>) {
    out.put_i32(i32::try_from(name.len() + 1).unwrap_or(0));
    out.put_u8(b'/');
    out.extend_from_slice(name.as_bytes());
}

fn create(xid: i32, name: &str, out: &mut Vec<u8>) {
    let begin = out.len();
    header(xid, CREATE, out);
    path(name, out);
    text("", out);
    out.put_i32(1);
    out.put_i32(ALL_RIGHTS);
    text("world", out);
    text("anyone", out);
    out.put_i32(EPHEMERAL);
    finish(&mut out[begin..]);
}

fn delete(xid: i32, name: &str, out: &mut Vec<u8>) {
    let begin = out.len();
    header(xid, DELETE, out);
    path(name, out);
    // Whatever its version.
    out.put_i32(-1);
    finish(&mut out[begin..]);
}

/// How ZooKeeper writes its messages.
struct Jute {
    xid: i32,
}

impl Dialect for Jute {
    const FAREWELL: &'static [u8] = &CLOSE;

    fn write(&mut self, request: Request, seat: &Seat, out: &mut Vec<u8>) {
        self.xid = self.xid.checked_add(1).unwrap_or(1);
        match request {
            Request::Take => create(self.xid, &seat.lock, out),
            Request::Give => delete(self.xid, &seat.lock, out),
        }
    }

    fn read(&mut self, request: Request, input: &mut BytesMut) -> Result<Option<Reply>, String> {
        let Some(mut head) = input.get(..4) else { return Ok(None) };
        let length = usize::try_from(head.get_i32()).map_err(|_| "a message of negative length".to_owned())?;
        if input.len() < 4 + length {
            return Ok(None);
        }
        input.advance(4);
        let mut answer = input.split_to(length);
        if answer.len() < 16 {
            return Err("an answer without a header".to_owned());
        }
        let (_xid, _zxid, error) = (answer.get_i32(), answer.get_i64(), answer.get_i32());
        match (request, error) {
            (Request::Take, 0) => Ok(Some(Reply::Taken)),
            (Request::Take, NODE_EXISTS) => Ok(Some(Reply::Held)),
            (Request::Give, 0) => Ok(Some(Reply::Given)),
            (Request::Give, NO_NODE) => Ok(Some(Reply::NotHeld)),
            (request, error) => Err(format!("{request:?} is answered with error {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_carry_their_length() {
        let mut out = Vec::new();
        delete(7, "a", &mut out);
        delete(8, "bc", &mut out);
        let first = [0, 0, 0, 18, 0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, 2, b'/', b'a', 255, 255, 255, 255];
        assert_eq!(out[..first.len()], first);
        assert_eq!(out[first.len()..first.len() + 4], [0, 0, 0, 19]);
    }

    #[test]
    fn answers_are_read_when_whole_and_told_by_their_error() {
        let mut answer = Vec::new();
        for error in [0, NODE_EXISTS, NO_NODE, -4] {
            answer.put_i32(16);
            answer.put_i32(1);
            answer.put_i64(5);
            answer.put_i32(error);
        }
        let mut input = BytesMut::from(&answer[..39]);
        let mut dialect = Jute { xid: 0 };
        assert_eq!(dialect.read(Request::Take, &mut input), Ok(Some(Reply::Taken)));
        assert_eq!(dialect.read(Request::Take, &mut input), Ok(None));
        input.extend_from_slice(&answer[39..]);
        assert_eq!(dialect.read(Request::Take, &mut input), Ok(Some(Reply::Held)));
        assert_eq!(dialect.read(Request::Give, &mut input), Ok(Some(Reply::NotHeld)));
        assert!(dialect.read(Request::Give, &mut input).is_err());
    }
}
