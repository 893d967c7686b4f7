//! Random commands and scripts get the same answers, byte by byte, from a real redis-server and from nodes of Leasehold, but for
//! times and for the differences that are meant (`differential/intended.rs`).

mod differential;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use leasehold_testkit::clients::{RedisOptions, RedisServer, RespConnection, encoded, tools};
use leasehold_testkit::cluster::{Cluster, ClusterOptions, PATIENCE, eventually};
use leasehold_tests::{alone, seed};

use differential::generate::{Command, Generator, Step};
use differential::intended::Difference;
use differential::scripts::SCRIPTS;

/// What differs in times: how long a command may take on a busy machine.
const TOLERANCE_MS: i64 = 10_000;
const STEPS: usize = 350;
const SEEDS: u64 = 12;
const CONNECTIONS: usize = 3;
const SHORT_TTL_MS: &str = "150";
/// Commands that an error shows, the last ones.
const SHOWN: usize = 12;

/// Both sides of the comparison.
struct Sides {
    redis: Vec<RespConnection>,
    node: Vec<RespConnection>,
    last: VecDeque<String>,
    /// Keys that may have no time to live at Redis.
    without_ttl: BTreeSet<String>,
    compared: u64,
    differences: BTreeMap<Difference, u64>,
}

impl Sides {
    /// Connections in pairs: every second one speaks RESP3.
    async fn connect(redis: &str, nodes: &[String]) -> Result<Self> {
        let mut sides = Self {
            redis: Vec::new(),
            node: Vec::new(),
            last: VecDeque::new(),
            without_ttl: BTreeSet::new(),
            compared: 0,
            differences: BTreeMap::new(),
        };
        for (number, node) in nodes.iter().enumerate() {
            for (address, connections) in [(redis, &mut sides.redis), (node, &mut sides.node)] {
                let mut connection = RespConnection::connect(address).await?;
                if number % 2 == 1 {
                    let hello = connection.call(&["HELLO", "3"]).await?;
                    ensure!(hello.starts_with(b"%"), "HELLO 3 is answered by a map");
                }
                connections.push(connection);
            }
        }
        Ok(sides)
    }

    async fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Ask { connection, commands } => {
                let bytes: Vec<u8> = commands.iter().flat_map(|command| encoded(&command.words)).collect();
                self.redis[*connection].send(&bytes).await?;
                self.node[*connection].send(&bytes).await?;
                let mut traces = Vec::new();
                for command in commands {
                    let redis = self.redis[*connection].reply().await?;
                    let node = self.node[*connection].reply().await.with_context(|| shown(command))?;
                    self.last.push_back(format!("[{connection}] {}", shown(command)));
                    if self.last.len() > SHOWN {
                        self.last.pop_front();
                    }
                    // Behind a difference, a pipeline goes on with states that may differ.
                    if traces.is_empty() && self.compare(command, &redis, &node)? {
                        traces.extend(commands.iter().flat_map(|command| command.keys.clone()));
                    }
                }
                self.forget(&traces).await
            }
            Step::RunOut { connection, key } => {
                let words = ["SET", key, "w1", "NX", "PX", SHORT_TTL_MS];
                let redis = self.redis[*connection].call(&words).await?;
                let node = self.node[*connection].call(&words).await?;
                ensure!(redis == b"+OK\r\n" && node == redis, "{words:?} is answered by {}", text(&node));
                for side in [&mut self.redis[*connection], &mut self.node[*connection]] {
                    let side = tokio::sync::Mutex::new(side);
                    let gone = || async {
                        let exists = side.lock().await.call(&["EXISTS", key]).await.ok()?;
                        (exists == b":0\r\n").then_some(())
                    };
                    eventually(PATIENCE, "a short lock runs out", gone).await?;
                }
                self.compared += 1;
                Ok(())
            }
        }
    }

    /// Whether the two sides may look different from now on.
    fn compare(&mut self, command: &Command, redis: &[u8], node: &[u8]) -> Result<bool> {
        self.compared += 1;
        if redis == node || (command.tells_time && times_are_near(redis, node)) {
            self.note_times(command, redis);
            return Ok(false);
        }
        let without_ttl = command.keys.iter().any(|key| self.without_ttl.contains(key));
        let difference = Difference::between(command, redis, node, without_ttl).with_context(|| {
            let last: Vec<&str> = self.last.iter().map(String::as_str).collect();
            let last = last.join("\n  ");
            format!("Redis says {}, the node says {}, to the last of\n  {last}", text(redis), text(node))
        })?;
        *self.differences.entry(difference).or_default() += 1;
        Ok(true)
    }

    /// Scripts are not looked into: what they give a time stays noted, and only that.
    fn note_times(&mut self, command: &Command, reply: &[u8]) {
        let is_done = reply == b":1\r\n" || reply == b"+OK\r\n";
        match command.words[0].to_ascii_lowercase().as_slice() {
            b"setnx" | b"msetnx" if is_done => self.without_ttl.extend(command.keys.iter().cloned()),
            b"set" | b"expire" | b"pexpire" | b"del" | b"unlink" if is_done && command.keys.len() == 1 => {
                self.without_ttl.remove(&command.keys[0]);
            }
            _ => {}
        }
    }

    /// Makes these keys absent on both sides.
    async fn forget(&mut self, keys: &[String]) -> Result<()> {
        for key in keys {
            self.without_ttl.remove(key);
            for side in [&mut self.redis[0], &mut self.node[0]] {
                side.call(&["DEL", key]).await?;
                let exists = side.call(&["EXISTS", key]).await?;
                ensure!(exists == b":0\r\n", "{key} is there after DEL: {}", text(&exists));
            }
        }
        Ok(())
    }
}

fn text(reply: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(reply))
}

fn shown(command: &Command) -> String {
    command.words.iter().map(|word| text(word)).collect::<Vec<_>>().join(" ")
}

/// Two numbers that are times left, of one lock.
fn times_are_near(redis: &[u8], node: &[u8]) -> bool {
    let number = |reply: &[u8]| -> Option<i64> {
        std::str::from_utf8(reply).ok()?.strip_prefix(':')?.strip_suffix("\r\n")?.parse().ok()
    };
    matches!((number(redis), number(node)), (Some(redis), Some(node))
        if redis > 0 && node > 0 && (redis - node).abs() <= TOLERANCE_MS)
}

/// Policies as Redis has none.
fn options(nodes: u64) -> ClusterOptions {
    let config = ["[redis]", "set-without-ttl = \"allow\"", "del-without-owner-check = \"allow\""];
    ClusterOptions { nodes, redis: true, config: config.map(str::to_owned).to_vec(), ..ClusterOptions::default() }
}

/// How many commands were compared, and how many were answered differently on purpose.
#[derive(Debug, Default)]
struct Comparison {
    compared: u64,
    differences: BTreeMap<Difference, u64>,
}

/// Sequences from these seeds, one after the other; connections go to `nodes` in turn.
async fn compare(test: &str, redis: &str, nodes: &[String], seeds: impl Iterator<Item = u64>) -> Result<Comparison> {
    let mut comparison = Comparison::default();
    let names = script_names(redis).await?;
    for seed in seeds {
        let mut sides = Sides::connect(redis, nodes).await?;
        let mut generator = Generator::new(seed, nodes.len(), names.clone());
        for number in 0..STEPS {
            let step = generator.step();
            sides.step(&step).await.with_context(|| {
                let command = "cargo test -p leasehold-tests --test redis_differential";
                format!("step {number}; repeat with: LEASEHOLD_SEED={seed} {command} {test}")
            })?;
        }
        // The next sequence has other keys: these are not needed any more.
        sides.forget(&generator.keys()).await?;
        comparison.compared += sides.compared;
        for (difference, count) in sides.differences {
            *comparison.differences.entry(difference).or_default() += count;
        }
    }
    Ok(comparison)
}

/// SHA-1 of each script, as Redis names it.
async fn script_names(redis: &str) -> Result<Vec<String>> {
    let mut connection = RespConnection::connect(redis).await?;
    let mut names = Vec::new();
    for script in SCRIPTS {
        let name = connection.call(&["SCRIPT", "LOAD", script.body]).await?;
        let name = String::from_utf8(name)?.lines().nth(1).context("SCRIPT LOAD names the script")?.to_owned();
        names.push(name);
    }
    Ok(names)
}

#[expect(clippy::print_stderr, reason = "what was compared belongs to the output")]
async fn compare_with_nodes(test: &str, nodes: u64, seeds: impl Iterator<Item = u64>) -> Result<()> {
    let Some(server) = tools::redis_server()? else { return Ok(()) };
    let _alone = alone().await;
    let redis = RedisServer::start(&server, RedisOptions::default()).await?;
    let cluster = Cluster::start(options(nodes)).await?;
    let ids = cluster.ids();
    let node = |number: usize| cluster.node(ids[number % ids.len()]).redis_address();
    let addresses: Vec<String> = (0..CONNECTIONS).map(node).collect();
    let Comparison { compared, differences } = compare(test, &redis.address(), &addresses, seeds).await?;
    eprintln!("{compared} commands compared; meant to differ: {differences:?}");
    let differing: u64 = differences.values().sum();
    ensure!(differing * 10 < compared, "{differing} of {compared} answers differ, even if each is meant to");
    Ok(())
}

/// What the comparison takes for granted: Redis itself answers the same twice, whatever the machine does meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_redis_servers_answer_alike() -> Result<()> {
    let Some(server) = tools::redis_server()? else { return Ok(()) };
    let random = seed("redis_differential", "two_redis_servers_answer_alike");
    let one = RedisServer::start(&server, RedisOptions::default()).await?;
    let two = RedisServer::start(&server, RedisOptions::default()).await?;
    let addresses = vec![two.address(); CONNECTIONS];
    let seeds = (1..=SEEDS).chain([random]);
    let comparison = compare("two_redis_servers_answer_alike", &one.address(), &addresses, seeds).await?;
    ensure!(comparison.compared > 2_000 && comparison.differences.is_empty(), "{comparison:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_answers_as_redis_does() -> Result<()> {
    let random = seed("redis_differential", "one_node_answers_as_redis_does");
    compare_with_nodes("one_node_answers_as_redis_does", 1, (1..=SEEDS).chain([random])).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_together_answer_as_one_redis_does() -> Result<()> {
    let random = seed("redis_differential", "three_nodes_together_answer_as_one_redis_does");
    compare_with_nodes("three_nodes_together_answer_as_one_redis_does", 3, (101..=103).chain([random])).await
}

/// Each on a connection of its own, which the client then half closes.
const BYTES: &[&str] = &[
    "PING\r\n",
    "  ping   hello  \r\n",
    "\r\n\r\nPING\r\n",
    "PING\n",
    "*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$2\r\n\r\n\r\nPING\r\n",
    "ECHO \"a \\x41 \\n b\"\r\n",
    "ECHO 'a b'\r\n",
    "ECHO \"unbalanced\r\n",
    "*0\r\nPING\r\n",
    "*-1\r\nPING\r\n",
    "*x\r\n",
    "*1\r\n+PING\r\n",
    "QUIT\r\nPING\r\n",
    "PING\r\n*1\r\n$4\r\nPI",
    "GET\r\nPING\r\n",
    "",
];

/// Lengths that cannot be; a node's error also says what its bound is.
const BEYOND: &[&str] = &["*3000000000\r\n", "*1\r\n$2000000000\r\n", "*1\r\n$x\r\n", "*1\r\n$-5\r\n"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_and_broken_frames_end_as_with_redis() -> Result<()> {
    let Some(server) = tools::redis_server()? else { return Ok(()) };
    let _alone = alone().await;
    let redis = RedisServer::start(&server, RedisOptions::default()).await?;
    let cluster = Cluster::start(options(1)).await?;
    for bytes in BYTES {
        let expected = whole_answer(&redis.address(), bytes).await.context("of Redis")?;
        let answer =
            whole_answer(&cluster.node(1).redis_address(), bytes).await.with_context(|| format!("{bytes:?}"))?;
        ensure!(answer == expected, "{bytes:?}: Redis says {}, the node says {}", text(&expected), text(&answer));
    }
    for bytes in BEYOND {
        let expected = whole_answer(&redis.address(), bytes).await.context("of Redis")?;
        let answer =
            whole_answer(&cluster.node(1).redis_address(), bytes).await.with_context(|| format!("{bytes:?}"))?;
        let says_more = answer.starts_with(expected.trim_ascii_end()) && expected.starts_with(b"-ERR");
        ensure!(says_more, "{bytes:?}: Redis says {}, the node says {}", text(&expected), text(&answer));
    }
    Ok(())
}

/// All that a server says to these bytes until it ends the connection.
async fn whole_answer(address: &str, bytes: &str) -> Result<Vec<u8>> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(bytes.as_bytes()).await?;
    // One that the server has ended already cannot be half closed.
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    read.context("the connection stays open")?.context("the connection was reset")?;
    Ok(answer)
}
