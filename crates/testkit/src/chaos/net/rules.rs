//! Packet filter rules, as text for `nft`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{Host, Trouble};

/// The queue of an interface that is slower than its other one.
pub(super) const LATE_QUEUE: &str = "1:2";

/// What is wrong between all hosts.
#[derive(Debug, Clone, Default)]
pub(super) struct Links {
    troubles: BTreeMap<(Host, Host), BTreeSet<Trouble>>,
    /// Connections to a port of a host go elsewhere.
    redirects: BTreeMap<(Host, u16), String>,
    /// So many packets of a thousand that a host sends go through its second queue.
    late: BTreeMap<Host, u32>,
}

impl Links {
    pub(super) fn trouble(&mut self, from: Host, to: Host, trouble: Trouble) {
        self.troubles.entry((from, to)).or_default().insert(trouble);
    }

    pub(super) fn redirect(&mut self, to: Host, port: u16, target: String) {
        self.redirects.insert((to, port), target);
    }

    pub(super) fn late(&mut self, from: Host, share: u32) {
        self.late.insert(from, share);
    }

    pub(super) fn is_clear(&self) -> bool {
        self.troubles.is_empty() && self.redirects.is_empty() && self.late.is_empty()
    }

    /// The whole table of one host, in place of the one before.
    pub(super) fn table(&self, host: Host) -> String {
        let (mut input, mut output, mut redirect) = (String::new(), String::new(), String::new());
        for ((from, to), troubles) in &self.troubles {
            for trouble in troubles {
                let source = format!("ip saddr {}", from.address());
                let of_thousand = |share: u32| match share {
                    // All of them: the filter knows no such number.
                    1_000.. => String::new(),
                    share => format!("numgen random mod 1000 < {share}"),
                };
                // Writing to a string does not fail.
                let _ = match trouble {
                    Trouble::Drop if *to == host => writeln!(input, "{source} drop"),
                    Trouble::Lose(share) if *to == host => writeln!(input, "{source} {} drop", of_thousand(*share)),
                    Trouble::Reset(share) if *to == host => {
                        writeln!(input, "{source} meta l4proto tcp {} reject with tcp reset", of_thousand(*share))
                    }
                    Trouble::Duplicate if *from == host => {
                        let to = to.address();
                        writeln!(output, "ip daddr {to} dup to {to} device \"eth0\"")
                    }
                    _ => Ok(()),
                };
            }
        }
        if let Some(share) = self.late.get(&host) {
            let _ = writeln!(output, "numgen random mod 1000 < {share} meta priority set {LATE_QUEUE}");
        }
        for ((to, port), target) in self.redirects.iter().filter(|((to, _), _)| *to != host) {
            let _ = writeln!(redirect, "ip daddr {} tcp dport {port} dnat to {target}", to.address());
        }
        let mut table = String::from("table ip chaos {}\ndelete table ip chaos\ntable ip chaos {\n");
        for (name, hook, rules) in [
            ("in", "type filter hook input priority 0;", input),
            ("out", "type filter hook output priority 0;", output),
            ("way", "type nat hook output priority -100;", redirect),
        ] {
            // A chain that is not there costs nothing.
            if !rules.is_empty() {
                let _ = writeln!(table, "chain {name} {{\n{hook}\n{rules}}}");
            }
        }
        table.push_str("}\n");
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_lie_where_packets_arrive() {
        let (one, two) = (Host::Node(1), Host::Node(2));
        let mut links = Links::default();
        assert!(links.is_clear());
        links.trouble(one, two, Trouble::Drop);
        links.trouble(one, two, Trouble::Lose(50));
        assert!(!links.table(one).contains("chain"), "the other direction is open");
        let table = links.table(two);
        assert!(table.contains("ip saddr 10.99.0.1 drop"), "{table}");
        assert!(table.contains("numgen random mod 1000 < 50 drop"), "{table}");
    }

    #[test]
    fn what_is_late_leaves_through_the_slow_queue_of_its_host() {
        let mut links = Links::default();
        links.late(Host::Node(1), 70);
        assert!(!links.is_clear() && !links.table(Host::Node(2)).contains("chain"));
        let table = links.table(Host::Node(1));
        assert!(table.contains("numgen random mod 1000 < 70 meta priority set 1:2"), "{table}");
    }

    #[test]
    fn what_is_redirected_is_so_for_all_others() {
        let mut links = Links::default();
        links.redirect(Host::Node(1), 7400, "10.99.0.254:9".into());
        assert!(!links.table(Host::Node(1)).contains("dnat"));
        let table = links.table(Host::Client(1));
        assert!(table.contains("ip daddr 10.99.0.1 tcp dport 7400 dnat to 10.99.0.254:9"), "{table}");
    }
}
