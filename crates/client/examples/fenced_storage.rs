//! Why a lock alone is not enough, and a fencing token is: a storage, attacked by a holder that was paused.
//!
//! Two processes add to a counter in a storage, under a lock. One of them is stopped (SIGSTOP) after it has looked at its
//! lock and before it writes, until its lease has run out and the other one has had the lock. Then it goes on, and writes.
//! A storage that refuses tokens older than the greatest it has seen loses nothing; one that does not loses an update.
//!
//! Against `leasehold dev` or any cluster: `LEASEHOLD_ENDPOINTS=a:7400,b:7400 cargo run -p leasehold-client --example fenced_storage`
//! Exits with 0 when the fenced storage lost nothing, and the other one did.
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use leasehold_client::{Client, ClientOptions, Guard};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Short, so that the reader need not wait long for it to run out.
const TTL: Duration = Duration::from_secs(2);
/// Longer than any step of this takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => tokio::time::timeout(PATIENCE * 2, tell_both_stories()).await?,
        [role, storage, lock] if role == "--holder" => be_the_paused_holder(storage, lock).await,
        _ => Err("usage: fenced_storage".into()),
    }
}

async fn tell_both_stories() -> Result<()> {
    let lost_with = attack(Storage::start(true).await?).await?;
    let lost_without = attack(Storage::start(false).await?).await?;
    println!("updates lost: {lost_with} with fencing, {lost_without} without");
    if lost_with == 0 && lost_without > 0 { Ok(()) } else { Err("that is not what fencing promises".into()) }
}

/// Has a paused holder write late. Says how many of the additions that the storage took are not in its counter.
async fn attack(storage: Storage) -> Result<u64> {
    println!("A storage {} fencing:", if storage.fenced { "with" } else { "without" });
    let client = connect("the other one").await?;
    // A name that no earlier run can still hold.
    let lock = format!("example/storage-{}-{}", std::process::id(), storage.address);

    let mut holder = Holder::start(&storage.address, &lock)?;
    println!("  the holder: {}", holder.hear("holding").await?);
    holder.pause()?;
    println!("  the holder is stopped, between its look at the lock and its write");

    // Granted when the paused holder's session has run out: it cannot renew it.
    let guard = client.lock(&lock).acquire().await?;
    let value = storage.ask("read").await?.parse::<u64>()?;
    let answer = storage.ask(&format!("write {} {}", value + 1, guard.token())).await?;
    println!("  the other one: holding under token {}, read {value}, wrote {}: {answer}", guard.token(), value + 1);
    guard.release().await?;

    holder.wake().await?;
    println!("  the holder goes on: {}", holder.hear("wrote").await?);
    println!("  its guard, too late: {}", holder.hear("guard").await?);
    holder.end().await?;
    client.shutdown(Duration::from_secs(5)).await;
    let lost = storage.lost();
    println!("  additions taken and not in the counter: {lost}");
    Ok(lost)
}

async fn connect(owner: &str) -> Result<Client> {
    let endpoints = std::env::var("LEASEHOLD_ENDPOINTS").unwrap_or("127.0.0.1:7400".into());
    let options =
        ClientOptions { owner: owner.to_owned(), session_ttl: TTL, ..ClientOptions::new(endpoints.split(',')) };
    Ok(Client::connect(options).await?)
}

// ---- The holder: a process of its own, that the other one stops ----

async fn be_the_paused_holder(storage: &str, lock: &str) -> Result<()> {
    let client = connect("the holder").await?;
    let guard: Guard = client.lock(lock).acquire().await?;
    let value = ask(storage, "read").await?.parse::<u64>()?;
    // It does look. A moment later that means nothing.
    if !guard.is_held() {
        return Err("lost before the story began".into());
    }
    println!("holding under token {}, read {value}", guard.token());
    // Here it is stopped. What it waits for is written by who wakes it up.
    let mut woken = String::new();
    BufReader::new(tokio::io::stdin()).read_line(&mut woken).await?;
    let answer = ask(storage, &format!("write {} {}", value + 1, guard.token())).await?;
    println!("wrote {} under token {}: {answer}", value + 1, guard.token());
    println!("guard says: lost, {}", guard.lost().await);
    Ok(())
}

/// The holder, as the one who stops it sees it.
struct Holder {
    child: Child,
    pid: Pid,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Holder {
    fn start(storage: &str, lock: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--holder", storage, lock])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).ok_or("the holder has no process id")?;
        let stdin = child.stdin.take().ok_or("the holder has no stdin")?;
        let stdout = child.stdout.take().ok_or("the holder has no stdout")?;
        Ok(Self { child, pid, stdin, lines: BufReader::new(stdout).lines() })
    }

    /// Its next line, which begins so.
    async fn hear(&mut self, beginning: &str) -> Result<String> {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await??.ok_or("the holder has ended")?;
        if line.starts_with(beginning) { Ok(line) } else { Err(format!("the holder says: {line}").into()) }
    }

    fn pause(&self) -> Result<()> {
        Ok(kill_process(self.pid, Signal::STOP)?)
    }

    async fn wake(&mut self) -> Result<()> {
        self.stdin.write_all(b"go on\n").await?;
        Ok(kill_process(self.pid, Signal::CONT)?)
    }

    async fn end(mut self) -> Result<()> {
        let status = self.child.wait().await?;
        if status.success() { Ok(()) } else { Err(format!("the holder ended with {status}").into()) }
    }
}

// ---- The storage: knows nothing of locks, but may compare tokens ----

/// A counter behind a socket. `read` is answered with it, `write VALUE TOKEN` with `taken` or `refused`.
struct Storage {
    address: String,
    fenced: bool,
    counter: Arc<Mutex<Counter>>,
}

#[derive(Default)]
struct Counter {
    fenced: bool,
    value: u64,
    /// Writes that were taken; each adds one to what its writer had read.
    taken: u64,
    greatest_token: u64,
}

impl Storage {
    async fn start(fenced: bool) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let counter = Arc::new(Mutex::new(Counter { fenced, ..Counter::default() }));
        tokio::spawn(serve(listener, counter.clone()));
        Ok(Self { address, fenced, counter })
    }

    async fn ask(&self, question: &str) -> Result<String> {
        ask(&self.address, question).await
    }

    fn lost(&self) -> u64 {
        let counter = self.counter.lock().unwrap_or_else(PoisonError::into_inner);
        counter.taken - counter.value
    }
}

impl Counter {
    fn answer(&mut self, question: &str) -> String {
        let words: Vec<&str> = question.split_whitespace().collect();
        match words.as_slice() {
            ["read"] => self.value.to_string(),
            ["write", value, token] => match (value.parse(), token.parse()) {
                (Ok(value), Ok(token)) => self.write(value, token).to_owned(),
                _ => "not understood".to_owned(),
            },
            _ => "not understood".to_owned(),
        }
    }

    fn write(&mut self, value: u64, token: u64) -> &'static str {
        // The whole of fencing: whoever comes after has a greater token.
        if self.fenced && token < self.greatest_token {
            return "refused, the token is too old";
        }
        self.greatest_token = self.greatest_token.max(token);
        self.value = value;
        self.taken += 1;
        "taken"
    }
}

async fn serve(listener: TcpListener, counter: Arc<Mutex<Counter>>) -> Result<()> {
    loop {
        let (mut connection, _) = listener.accept().await?;
        let counter = counter.clone();
        tokio::spawn(async move {
            let (reader, mut writer) = connection.split();
            let mut questions = BufReader::new(reader).lines();
            while let Ok(Some(question)) = questions.next_line().await {
                let answer = counter.lock().unwrap_or_else(PoisonError::into_inner).answer(&question);
                if writer.write_all(format!("{answer}\n").as_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn ask(storage: &str, question: &str) -> Result<String> {
    let mut connection = TcpStream::connect(storage).await?;
    connection.write_all(format!("{question}\n").as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(connection).read_line(&mut answer).await?;
    Ok(answer.trim_end().to_owned())
}
