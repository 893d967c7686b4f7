//! The network of a run: a namespace for every node and every client process, joined by one bridge; or loopback.
//!
//! The driver itself moves into a namespace of its own, the hub, where the bridge is: nothing is made in the namespace of
//! the machine, and several runs side by side use the same addresses.

mod hub;
mod proxy;
mod rules;

pub use hub::{enter, remove_leftovers};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use anyhow::Result;

use super::shell::{feed, run};
use proxy::DelayProxy;
use rules::{LATE_QUEUE, Links};

/// Somebody with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A node, by id.
    Node(u64),
    /// A client process, by number from 1.
    Client(u32),
}

impl Host {
    /// Its address in a network of namespaces.
    #[must_use]
    pub fn address(self) -> String {
        match self {
            Self::Node(id) => format!("10.99.0.{id}"),
            Self::Client(number) => format!("10.99.0.{}", 100 + number),
        }
    }

    fn short(self) -> String {
        match self {
            Self::Node(id) => format!("n{id}"),
            Self::Client(number) => format!("c{number}"),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(f, "node {id}"),
            Self::Client(number) => write!(f, "client {number}"),
        }
    }
}

/// What is wrong with the way from one host to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Nothing arrives.
    Drop,
    /// So many packets of a thousand do not.
    Lose(u32),
    /// So many packets of a thousand are answered with a reset.
    Reset(u32),
    /// Every packet arrives twice.
    Duplicate,
}

/// Address of the hub, where the driver and its proxies are.
const HUB: &str = "10.99.0.254";
/// How long established connections are reset, so that the next ones take another way.
const RESET_FOR: Duration = Duration::from_millis(120);
/// Packets that wait to be late.
const LATE_PACKETS_MAX: &str = "30";
/// No packet of a thousand is spared.
const ALL: u32 = 1_000;

/// The network of a run.
#[derive(Debug)]
pub struct Network {
    /// Name of the namespaces up to the host; None: everybody is on loopback.
    prefix: Option<String>,
    hosts: BTreeSet<Host>,
    links: Links,
    proxies: Vec<DelayProxy>,
    limited: Option<Host>,
}

impl Network {
    /// Everybody on loopback: nothing can be done to it.
    #[must_use]
    pub fn loopback() -> Self {
        Self { prefix: None, hosts: BTreeSet::new(), links: Links::default(), proxies: Vec::new(), limited: None }
    }

    /// Makes the namespaces. The process must be in the hub, see [`enter`].
    pub fn namespaces(hosts: &[Host]) -> Result<Self> {
        let mut network = Self::loopback();
        network.prefix = Some(hub::prefix());
        run(&["ip", "link", "set", "lo", "up"])?;
        run(&["ip", "link", "add", "br0", "type", "bridge"])?;
        run(&["ip", "addr", "add", &format!("{HUB}/24"), "dev", "br0"])?;
        run(&["ip", "link", "set", "br0", "up"])?;
        for host in hosts {
            network.join(*host)?;
        }
        Ok(network)
    }

    fn join(&mut self, host: Host) -> Result<()> {
        let Some(name) = self.namespace(host) else { return Ok(()) };
        let outer = format!("v-{}", host.short());
        // Known before it is made, so that it is removed whatever fails.
        self.hosts.insert(host);
        run(&["ip", "netns", "add", &name])?;
        run(&["ip", "link", "add", &outer, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
        run(&["ip", "link", "set", &outer, "master", "br0", "up"])?;
        run(&["ip", "-n", &name, "addr", "add", &format!("{}/24", host.address()), "dev", "eth0"])?;
        run(&["ip", "-n", &name, "link", "set", "eth0", "up"])?;
        run(&["ip", "-n", &name, "link", "set", "lo", "up"])?;
        Ok(())
    }

    /// The namespace of a host.
    #[must_use]
    pub fn namespace(&self, host: Host) -> Option<String> {
        Some(format!("{}-{}", self.prefix.as_ref()?, host.short()))
    }

    /// The words before a command that is to run on a host.
    #[must_use]
    pub fn wrapper(&self, host: Host) -> Vec<String> {
        match self.namespace(host) {
            Some(name) => vec!["nsenter".into(), format!("--net=/run/netns/{name}")],
            None => Vec::new(),
        }
    }

    /// All hosts but one.
    #[must_use]
    pub fn others(&self, host: Host) -> Vec<Host> {
        self.hosts.iter().copied().filter(|other| *other != host).collect()
    }

    /// From now on these ways are in trouble, in this direction.
    pub fn trouble(&mut self, ways: &[(Host, Host)], trouble: Trouble) -> Result<()> {
        for (from, to) in ways {
            self.links.trouble(*from, *to, trouble);
        }
        self.write(ways.iter().flat_map(|(from, to)| [*from, *to]).collect())
    }

    /// What is sent to `victim` passes a proxy that holds it back for up to so long.
    pub async fn delay(&mut self, victim: Host, ports: &[u16], longest: Duration, seed: u64) -> Result<()> {
        for port in ports {
            let proxy = DelayProxy::start(format!("{}:{port}", victim.address()), longest, seed).await?;
            self.links.redirect(victim, *port, format!("{HUB}:{}", proxy.port()));
            self.proxies.push(proxy);
        }
        self.reset_all(victim).await
    }

    /// Resets what is connected to a host, and writes the rules as they are then.
    async fn reset_all(&mut self, victim: Host) -> Result<()> {
        let before = self.links.clone();
        for other in self.others(victim) {
            self.links.trouble(other, victim, Trouble::Reset(ALL));
            self.links.trouble(victim, other, Trouble::Reset(ALL));
        }
        self.write(self.hosts.clone())?;
        tokio::time::sleep(RESET_FOR).await;
        self.links = before;
        self.write(self.hosts.clone())
    }

    /// Limits what a host sends.
    pub fn slow(&mut self, host: Host, kbit: u32) -> Result<()> {
        let Some(name) = self.namespace(host) else { return Ok(()) };
        self.limited = Some(host);
        let rate = format!("{kbit}kbit");
        let words = ["tc", "-n", &name, "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", &rate];
        run(&[&words[..], &["burst", "16kb", "latency", "400ms"]].concat()).map(drop)
    }

    /// A share (of a thousand) of the packets that a host sends goes through a queue of its own, which sends so little that later packets
    /// overtake them. What does not fit into it is lost.
    pub fn reorder(&mut self, host: Host, share: u32, kbit: u32) -> Result<()> {
        let Some(name) = self.namespace(host) else { return Ok(()) };
        self.limited = Some(host);
        let rate = format!("{kbit}kbit");
        let add = |words: &[&str]| {
            let what = [&["tc", "-n", &name, words[0], "add", "dev", "eth0"][..], &words[1..]].concat();
            run(&what).map(drop)
        };
        add(&["qdisc", "root", "handle", "1:", "htb", "default", "1"])?;
        add(&["class", "parent", "1:", "classid", "1:1", "htb", "rate", "10gbit", "quantum", "60000"])?;
        // Without a burst each packet waits for what the one before it has cost.
        let late = ["class", "parent", "1:", "classid", LATE_QUEUE, "htb", "rate", &rate];
        add(&[&late[..], &["burst", "1", "cburst", "1", "quantum", "1600"]].concat())?;
        add(&["qdisc", "parent", LATE_QUEUE, "pfifo", "limit", LATE_PACKETS_MAX])?;
        self.links.late(host, share);
        self.write(BTreeSet::from([host]))
    }

    /// Everything passes again.
    pub fn heal(&mut self) -> Result<()> {
        self.proxies.clear();
        if let Some(name) = self.limited.take().and_then(|host| self.namespace(host)) {
            run(&["tc", "-n", &name, "qdisc", "del", "dev", "eth0", "root"])?;
        }
        if self.links.is_clear() {
            return Ok(());
        }
        self.links = Links::default();
        self.write(self.hosts.clone())
    }

    fn write(&self, hosts: BTreeSet<Host>) -> Result<()> {
        for host in hosts {
            let Some(name) = self.namespace(host) else { continue };
            let enter = format!("--net=/run/netns/{name}");
            feed(&["nsenter", &enter, "nft", "-f", "-"], &self.links.table(host))?;
        }
        Ok(())
    }

    fn remove(&mut self) {
        let names: BTreeMap<Host, String> =
            self.hosts.iter().filter_map(|host| Some((*host, self.namespace(*host)?))).collect();
        for name in names.values() {
            // What cannot be removed now is removed by the next run.
            let _ = run(&["ip", "netns", "del", name]);
        }
        if self.prefix.is_some() {
            hub::leave();
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.remove();
    }
}
