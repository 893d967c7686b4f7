//! What this machine lets us do, tried out rather than guessed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use super::fault::{Fault, Need};
use super::say;

/// Under this variable a fault that cannot be brought is an error, not something to leave out.
pub const REQUIRED: &str = "LEASEHOLD_CHAOS_REQUIRED";

/// What there is.
#[derive(Debug, Clone, Default)]
pub struct Abilities {
    there: BTreeSet<Need>,
    /// The library that fakes the wall clock.
    pub fake_time: Option<PathBuf>,
}

impl Abilities {
    /// Tries everything out that does not depend on the target.
    #[must_use]
    pub fn probe() -> Self {
        let mut abilities = Self { fake_time: fake_time(), ..Self::default() };
        let tried = [
            (Need::Namespaces, in_namespace("nft add table inet t && nsenter --version && ip -V")),
            (Need::Duplication, in_namespace(&output_rule("ip daddr 127.0.0.1 dup to 127.0.0.1 device lo"))),
            (Need::Translation, in_namespace(&nat_rule())),
            (Need::RateLimit, in_namespace("tc qdisc add dev lo root tbf rate 1mbit burst 10kb latency 50ms")),
            (Need::RateClasses, in_namespace(&rate_classes())),
            (Need::TimeNamespaces, succeeds("unshare", &["--time", "--monotonic", "1000", "true"])),
            (Need::ProcessLimits, succeeds("prlimit", &["--version"])),
            (Need::Mounts, can_mount()),
            (Need::FakeTime, abilities.fake_time.is_some()),
        ];
        abilities.there.extend(tried.into_iter().filter(|(_, works)| *works).map(|(need, _)| need));
        abilities
    }

    /// Something that the target or another library brings.
    pub fn add(&mut self, need: Need) {
        self.there.insert(need);
    }

    /// Something that is not to be counted on.
    pub fn remove(&mut self, need: Need) {
        self.there.remove(&need);
    }

    /// Whether it is there.
    #[must_use]
    pub fn has(&self, need: Need) -> bool {
        self.there.contains(&need)
    }

    /// Whether a fault can be brought here.
    #[must_use]
    pub fn allow(&self, fault: Fault) -> bool {
        fault.needs().iter().all(|need| self.has(*need))
    }

    /// The faults that cannot be brought, each with what is missing.
    #[must_use]
    pub fn left_out(&self) -> Vec<(Fault, &'static str)> {
        let missing = |fault: Fault| fault.needs().iter().find(|need| !self.has(**need));
        Fault::ALL.into_iter().filter_map(|fault| Some((fault, missing(fault)?.words()))).collect()
    }

    /// Says loudly what is left out. It is an error under [`REQUIRED`], but for what a target may lack.
    pub fn announce(&self) -> Result<()> {
        let left_out = self.left_out();
        for (fault, missing) in &left_out {
            say(&format!("SKIPPED: {fault}: it needs {missing}"));
        }
        say("SKIPPED: membership change: the product has none yet");
        let required = std::env::var_os(REQUIRED).is_some_and(|value| value == "1");
        let missing = left_out.iter().find(|(fault, _)| !fault.needs().iter().any(|need| need.is_of_the_target()));
        match missing.filter(|_| required) {
            Some((fault, missing)) => bail!("{REQUIRED}=1, and {fault} cannot be brought: it needs {missing}"),
            None => Ok(()),
        }
    }
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A namespace without a name ends with its command.
fn in_namespace(script: &str) -> bool {
    succeeds("unshare", &["--net", "sh", "-c", &format!("ip link set lo up && {script}")])
}

fn output_rule(rule: &str) -> String {
    format!("nft 'add table ip t; add chain ip t c {{ type filter hook output priority 0; }}; add rule ip t c {rule}'")
}

fn nat_rule() -> String {
    let rule = "ip daddr 10.0.0.1 tcp dport 1 dnat to 127.0.0.1:5";
    format!("nft 'add table ip t; add chain ip t c {{ type nat hook output priority -100; }}; add rule ip t c {rule}'")
}

/// With a rule that chooses among them.
fn rate_classes() -> String {
    let queue = "tc qdisc add dev lo root handle 1: htb default 1";
    let class = "tc class add dev lo parent 1: classid 1:2 htb rate 64kbit";
    format!("{queue} && {class} && {}", output_rule("numgen random mod 1000 < 9 meta priority set 1:2"))
}

/// In a mount namespace of its own, which ends with it.
fn can_mount() -> bool {
    succeeds("unshare", &["--mount", "sh", "-c", "mount -t tmpfs -o size=1m none /mnt"])
}

fn fake_time() -> Option<PathBuf> {
    let folders = ["/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib/faketime"];
    folders.iter().map(|folder| Path::new(folder).join("libfaketimeMT.so.1")).find(|path| path.exists())
}
