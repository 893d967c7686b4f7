//! What `serve` is started with. Flags win over the environment, that over the config file, that over defaults.

mod dapr;
mod redis;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leasehold_consensus::clock::Clock;
use leasehold_consensus::media::Media;
use leasehold_consensus::{LEVEL_MAX, NodeOptions, OptionsError, Tuning};
use leasehold_frontend::FrontendOptions;
use leasehold_platform::net::Dialer;
use serde::Deserialize;

use self::dapr::FileDapr;
pub(crate) use self::dapr::STORE_READY;
use self::redis::FileRedis;
use crate::logging::LogFormat;

/// Where clients connect when nothing is said. There is no access control yet, so nobody from outside does.
pub(crate) const LISTEN_DEFAULT: &str = "127.0.0.1:7400";
/// Where peers connect when nothing is said.
pub(crate) const PEER_LISTEN_DEFAULT: &str = "127.0.0.1:7401";
/// Where HTTP is served when nothing is said.
pub(crate) const HTTP_LISTEN_DEFAULT: &str = "127.0.0.1:7402";
/// Where `dev` serves the Redis protocol; `serve` does only where it is told to.
pub(crate) const REDIS_LISTEN_USUAL: &str = "127.0.0.1:7403";

/// Flags of `serve`; each has its variable.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct ServeArgs {
    /// Config file (TOML): the same names as here, and the tables "tuning" and "dapr"
    #[arg(long, env = "LEASEHOLD_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// This node, from 1; an id is never reused
    #[arg(long, env = "LEASEHOLD_NODE_ID", value_name = "ID")]
    node_id: Option<u64>,
    /// Folder of this node's data, its own alone
    #[arg(long, env = "LEASEHOLD_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where clients connect (gRPC) (default: 127.0.0.1:7400)
    #[arg(long, env = "LEASEHOLD_LISTEN", value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Where peers connect (default: 127.0.0.1:7401)
    #[arg(long, env = "LEASEHOLD_PEER_LISTEN", value_name = "HOST:PORT")]
    peer_listen: Option<String>,
    /// Where HTTP is served (default: 127.0.0.1:7402)
    #[arg(long, env = "LEASEHOLD_HTTP_LISTEN", value_name = "HOST:PORT")]
    http_listen: Option<String>,
    /// Where lock libraries written for Redis connect (default: nowhere; the usual port is 7403)
    #[arg(long, env = "LEASEHOLD_REDIS_LISTEN", value_name = "HOST:PORT")]
    redis_listen: Option<String>,
    /// All members with the addresses where their peers reach them: 1=HOST:PORT,2=HOST:PORT
    #[arg(long, env = "LEASEHOLD_PEERS", value_name = "ID=HOST:PORT,…")]
    peers: Option<String>,
    /// Where clients reach this node, as `cluster status` tells it (default: the listen address)
    #[arg(long, env = "LEASEHOLD_ADVERTISE", value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// Form a new cluster once all peers say that they are new; harmless on a formed one
    #[arg(long, env = "LEASEHOLD_BOOTSTRAP", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    bootstrap: Option<bool>,
    /// Have a store of Dapr's lock API with this name, in the namespace "default", for whatever app asks
    #[arg(long, env = "LEASEHOLD_DAPR_STORE", value_name = "NAME")]
    dapr_store: Option<String>,
    /// Claim to support format levels up to this one only, for rehearsing upgrades (default: what this build supports)
    #[arg(long, env = "LEASEHOLD_LEVEL_MAX", value_name = "LEVEL")]
    level_max: Option<u32>,
    /// A file that says how the clock goes, for tests: see `Clock::steered`
    #[arg(long, value_name = "FILE", hide = true)]
    test_clock: Option<PathBuf>,
    /// How to log, to stderr; LEASEHOLD_LOG filters (default: text)
    #[arg(long, env = "LEASEHOLD_LOG_FORMAT", value_enum)]
    log_format: Option<LogFormat>,
}

/// The config file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    node_id: Option<u64>,
    data_dir: Option<PathBuf>,
    listen: Option<String>,
    peer_listen: Option<String>,
    http_listen: Option<String>,
    peers: Option<String>,
    advertise: Option<String>,
    bootstrap: Option<bool>,
    level_max: Option<u32>,
    log_format: Option<LogFormat>,
    dapr_store: Option<String>,
    #[serde(default)]
    tuning: FileTuning,
    #[serde(default)]
    dapr: FileDapr,
    #[serde(default)]
    redis: FileRedis,
}

/// The `[tuning]` table. Durations are text: "50ms".
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileTuning {
    heartbeat: Option<String>,
    election_min: Option<String>,
    election_max: Option<String>,
    snapshot_entries: Option<u64>,
    keep_entries: Option<u64>,
    checkpoint_interval: Option<String>,
    drift_max_ppm: Option<u32>,
    leader_wait_max: Option<String>,
}

/// A node that can be started, once its listeners are bound.
#[derive(Debug)]
pub(crate) struct Settings {
    /// `client_address` is what was said, or empty: then it follows from the bound listener.
    pub(crate) node: NodeOptions,
    pub(crate) frontend: FrontendOptions,
    pub(crate) listen: String,
    pub(crate) peer_listen: String,
    pub(crate) http_listen: String,
    /// None: the Redis protocol is not served.
    pub(crate) redis_listen: Option<String>,
    pub(crate) log_format: LogFormat,
}

/// A setting that cannot be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigError {
    field: String,
    problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

impl std::error::Error for ConfigError {}

impl From<OptionsError> for ConfigError {
    fn from(error: OptionsError) -> Self {
        Self::new(error.field, error.problem)
    }
}

impl ConfigError {
    fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

impl Settings {
    /// Puts flags, environment (clap has read it), file and defaults together, and checks the result.
    pub(crate) fn load(args: ServeArgs) -> Result<Self, ConfigError> {
        let file = args.config.as_deref().map(read_file).transpose()?.unwrap_or_default();
        Self::merge(args, file)
    }

    /// The same, of the text of a config file.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn from_text(args: ServeArgs, text: &str) -> Result<Self, ConfigError> {
        Self::merge(args, parse_file(text, "config file")?)
    }

    fn merge(args: ServeArgs, mut file: File) -> Result<Self, ConfigError> {
        let required = |field: &str| ConfigError::new(field, "is required");
        let node_id = args.node_id.or(file.node_id).ok_or_else(|| required("node-id"))?;
        let data_dir = args.data_dir.or(file.data_dir).ok_or_else(|| required("data-dir"))?;
        let peers = args.peers.or(file.peers).ok_or_else(|| required("peers"))?;
        let peers = parse_peers(&peers)?;
        let address = |field: &str, flag: Option<String>, file: Option<String>, default: &str| {
            let value = flag.or(file).unwrap_or_else(|| default.to_owned());
            check_address(field, &value).map(|()| value)
        };
        let listen = address("listen", args.listen, file.listen, LISTEN_DEFAULT)?;
        let peer_listen = address("peer-listen", args.peer_listen, file.peer_listen, PEER_LISTEN_DEFAULT)?;
        let http_listen = address("http-listen", args.http_listen, file.http_listen, HTTP_LISTEN_DEFAULT)?;
        let redis_listen = args.redis_listen.or(file.redis.listen.take());
        redis_listen.iter().try_for_each(|address| check_address("redis-listen", address))?;
        let advertise = args.advertise.or(file.advertise);
        if let Some(advertise) = &advertise {
            check_address("advertise", advertise)?;
        }
        let node = NodeOptions {
            node_id,
            data_dir,
            // Peers are told what the list says, which need not be what we listen on (0.0.0.0).
            peer_address: peers.get(&node_id).cloned().unwrap_or_default(),
            client_address: advertise.unwrap_or_default(),
            peers,
            bootstrap: args.bootstrap.or(file.bootstrap).unwrap_or(false),
            level_max: args.level_max.or(file.level_max).unwrap_or(LEVEL_MAX),
            tuning: file.tuning.resolve()?,
            clock: match &args.test_clock {
                Some(file) => {
                    Clock::steered(file).map_err(|error| ConfigError::new("test-clock", error.to_string()))?
                }
                None => Clock::system(),
            },
            media: Media::files(),
            dialer: Dialer::tcp(),
        };
        node.validate()?;
        let log_format = args.log_format.or(file.log_format).unwrap_or_default();
        let dapr = file.dapr.resolve(args.dapr_store.or(file.dapr_store))?;
        let frontend = FrontendOptions { dapr, redis: file.redis.resolve()?, ..FrontendOptions::default() };
        Ok(Self { node, frontend, listen, peer_listen, http_listen, redis_listen, log_format })
    }
}

/// Where clients reach a node that listens on `bound`: there, or, if that is every address, on the host that peers know.
pub(crate) fn client_address(bound: SocketAddr, peer_address: &str) -> String {
    match peer_address.rsplit_once(':') {
        Some((host, _)) if bound.ip().is_unspecified() => format!("{host}:{}", bound.port()),
        _ => bound.to_string(),
    }
}

fn read_file(path: &Path) -> Result<File, ConfigError> {
    let field = || format!("config file {}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::new(field(), error.to_string()))?;
    parse_file(&text, &field())
}

fn parse_file(text: &str, field: &str) -> Result<File, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::new(field, error.to_string().trim_end().to_owned()))
}

fn parse_peers(text: &str) -> Result<BTreeMap<u64, String>, ConfigError> {
    let bad = |problem: String| ConfigError::new("peers", problem);
    let mut peers = BTreeMap::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (id, address) =
            item.split_once('=').ok_or_else(|| bad(format!("{item:?} is not of the form ID=HOST:PORT")))?;
        let number: u64 = id.trim().parse().map_err(|_| bad(format!("{id:?} is not a node id")))?;
        if number == 0 {
            return Err(bad("node ids begin at 1".into()));
        }
        check_address("peers", address.trim())?;
        if peers.values().any(|other| other == address.trim()) {
            return Err(bad(format!("{address} is listed twice")));
        }
        if peers.insert(number, address.trim().to_owned()).is_some() {
            return Err(bad(format!("node {number} is listed twice")));
        }
    }
    if peers.is_empty() { Err(bad("lists no node".into())) } else { Ok(peers) }
}

fn check_address(field: &str, address: &str) -> Result<(), ConfigError> {
    let problem = || ConfigError::new(field, format!("{address:?} is not of the form HOST:PORT"));
    let (host, port) = address.rsplit_once(':').ok_or_else(problem)?;
    if host.is_empty() || host.contains(char::is_whitespace) || port.parse::<u16>().is_err() {
        return Err(problem());
    }
    Ok(())
}

impl FileTuning {
    fn resolve(self) -> Result<Tuning, ConfigError> {
        let default = Tuning::default();
        let duration = |field: &str, value: Option<String>, default: Duration| match value {
            None => Ok(default),
            Some(text) => humantime::parse_duration(&text)
                .map_err(|error| ConfigError::new(format!("tuning.{field}"), format!("{text:?}: {error}"))),
        };
        Ok(Tuning {
            heartbeat: duration("heartbeat", self.heartbeat, default.heartbeat)?,
            election_min: duration("election-min", self.election_min, default.election_min)?,
            election_max: duration("election-max", self.election_max, default.election_max)?,
            snapshot_entries: self.snapshot_entries.unwrap_or(default.snapshot_entries),
            keep_entries: self.keep_entries.unwrap_or(default.keep_entries),
            checkpoint_interval: duration(
                "checkpoint-interval",
                self.checkpoint_interval,
                default.checkpoint_interval,
            )?,
            drift_max_ppm: self.drift_max_ppm.unwrap_or(default.drift_max_ppm),
            leader_wait_max: duration("leader-wait-max", self.leader_wait_max, default.leader_wait_max)?,
        })
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
