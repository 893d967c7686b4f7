//! What a client is made with.

use std::sync::Arc;
use std::time::Duration;

use leasehold_platform::net::Dialer;
use leasehold_platform::simulation;

use crate::clock::Clock;
use crate::error::Error;
use crate::observer::Observer;

/// Endpoints of one client. A cluster has a handful of nodes.
pub const ENDPOINTS_MAX: usize = 64;

/// Time to live of a lease or session if nothing else is said.
pub const TTL_DEFAULT: Duration = Duration::from_secs(30);

/// What a [`Client`](crate::Client) is made with.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// `HOST:PORT` of the nodes, any number from one; all of one cluster.
    pub endpoints: Vec<String>,
    /// Namespace of the lock names.
    pub namespace: String,
    /// Who holds what this client acquires: shown to others, no authority.
    pub owner: String,
    /// How long [`Client::connect`](crate::Client::connect) waits for the first node, and a connection attempt takes.
    pub connect_timeout: Duration,
    /// How long an operation is tried, over all nodes, and how long a wait in a queue survives without any node.
    pub call_timeout: Duration,
    /// Time to live of the client's sessions between keep-alives.
    pub session_ttl: Duration,
    /// What others see in the metadata of the client's sessions, beside host and process id.
    pub session_note: String,
    /// Share of a lease, in parts per million, that the client gives up for clock drift. The leader's clock runs slow by
    /// its own allowance already; this one covers as much again on our side.
    pub drift_max_ppm: u32,
    /// Real time.
    pub clock: Clock,
    /// How nodes are reached.
    pub dialer: Dialer,
    /// Hears of everything that is sent and answered.
    pub observer: Option<Arc<dyn Observer>>,
}

impl ClientOptions {
    /// The defaults, for these nodes.
    pub fn new<I, S>(endpoints: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            namespace: "default".to_owned(),
            owner: default_owner(),
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(10),
            session_ttl: TTL_DEFAULT,
            session_note: String::new(),
            drift_max_ppm: 2_000,
            clock: Clock::system(),
            dialer: Dialer::tcp(),
            observer: None,
        }
    }

    /// Checks the options.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |field, problem: String| Err(Error::Options { field, problem });
        if self.endpoints.is_empty() {
            return refuse("endpoints", "at least one HOST:PORT is needed".into());
        }
        if self.endpoints.len() > ENDPOINTS_MAX {
            return refuse("endpoints", format!("{} are more than {ENDPOINTS_MAX}", self.endpoints.len()));
        }
        for endpoint in &self.endpoints {
            if !is_host_and_port(endpoint) {
                return refuse("endpoints", format!("{endpoint:?} is not HOST:PORT"));
            }
        }
        let spans = [
            ("connect-timeout", self.connect_timeout),
            ("call-timeout", self.call_timeout),
            ("session-ttl", self.session_ttl),
        ];
        for (field, span) in spans {
            if span.is_zero() {
                return refuse(field, "must be longer than nothing".into());
            }
        }
        if self.drift_max_ppm > 100_000 {
            return refuse("drift-max-ppm", format!("{} is above 100000 (10 %)", self.drift_max_ppm));
        }
        Ok(())
    }

    /// What may be counted on of a lease of this length.
    pub(crate) fn safe_span(&self, span: Duration) -> Duration {
        span.mul_f64(1.0 - f64::from(self.drift_max_ppm) / 1e6)
    }
}

fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host_is_sound = if let Some(inner) = host.strip_prefix('[') {
        inner.strip_suffix(']').is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok())
    } else {
        !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
    };
    host_is_sound && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// `user@host:pid` of this process.
#[must_use]
pub fn default_owner() -> String {
    let uid = rustix::process::getuid().as_raw();
    let user = std::env::var("USER").ok().or_else(|| user_name(uid)).unwrap_or_else(|| format!("uid{uid}"));
    format!("{user}@{}:{}", host_name(), process_id())
}

/// The number of this process; the same one in every run of a simulation.
pub(crate) fn process_id() -> u32 {
    if simulation::is_running() { 1 } else { std::process::id() }
}

/// The name of this machine.
pub(crate) fn host_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    if host.is_empty() { "localhost".to_owned() } else { host.to_owned() }
}

/// The name of a local user: services and containers run without USER.
fn user_name(uid: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    });
    named.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_options_name_their_field() {
        let check = |change: fn(&mut ClientOptions)| {
            let mut options = ClientOptions::new(["127.0.0.1:7400"]);
            change(&mut options);
            match options.validate() {
                Err(Error::Options { field, .. }) => field,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(check(|o| o.endpoints.clear()), "endpoints");
        assert_eq!(check(|o| o.endpoints.push("nonsense".into())), "endpoints");
        assert_eq!(check(|o| o.endpoints.push("host:0".into())), "endpoints");
        assert_eq!(check(|o| o.endpoints.push("http://host:1".into())), "endpoints");
        assert_eq!(check(|o| o.call_timeout = Duration::ZERO), "call-timeout");
        assert_eq!(check(|o| o.drift_max_ppm = 200_000), "drift-max-ppm");
    }

    #[test]
    fn names_and_both_families_of_addresses_are_endpoints() {
        for endpoint in ["localhost:7400", "10.0.0.1:1", "[::1]:7400", "node-1.example.org:65535"] {
            ClientOptions::new([endpoint]).validate().unwrap();
        }
    }

    #[test]
    fn owner_names_user_host_and_process() {
        let owner = default_owner();
        assert!(owner.contains('@'), "{owner}");
        assert!(owner.ends_with(&format!(":{}", std::process::id())), "{owner}");
    }
}
