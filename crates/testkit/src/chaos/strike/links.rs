//! Faults of the ways between hosts.

use std::time::Duration;

use anyhow::Result;
use rand::Rng;
use rand::rngs::StdRng;

use super::super::arena::Arena;
use super::super::fault::Fault;
use super::super::net::{Host, Trouble};

/// Longest time that the proxy holds something back.
const DELAY_MS: (u64, u64) = (20, 400);
/// Packets of a thousand that are lost.
const LOSS: (u32, u32) = (20, 400);
/// Packets of a thousand that are answered with a reset: a connection has thousands.
const RESETS: (u32, u32) = (5, 30);
/// Packets of a thousand that are overtaken, and the kilobits a second of their way.
const LATE: (u32, u32) = (30, 300);
const LATE_KBIT: (u32, u32) = (64, 256);
/// Kilobits a second of a slow link.
const SLOW_KBIT: (u32, u32) = (64, 512);

pub(super) async fn strike(
    arena: &mut Arena,
    fault: Fault,
    host: Host,
    random: &mut StdRng,
    notes: &mut Vec<String>,
) -> Result<()> {
    let others = arena.network.others(host);
    let peers: Vec<Host> = others.iter().copied().filter(|other| matches!(other, Host::Node(_))).collect();
    let into = |from: &[Host]| from.iter().map(|from| (*from, host)).collect::<Vec<_>>();
    let out = |to: &[Host]| to.iter().map(|to| (host, *to)).collect::<Vec<_>>();
    let both = |other: &[Host]| [into(other), out(other)].concat();
    let network = &mut arena.network;
    match fault {
        Fault::CutFromPeers => network.trouble(&both(&peers), Trouble::Drop),
        Fault::Isolated => network.trouble(&both(&others), Trouble::Drop),
        Fault::OneWayIn => network.trouble(&into(&peers), Trouble::Drop),
        Fault::OneWayOut => network.trouble(&out(&peers), Trouble::Drop),
        Fault::Bridge => {
            let other = peers[random.random_range(0..peers.len())];
            notes.push(format!("between {host} and {other}"));
            network.trouble(&both(&[other]), Trouble::Drop)
        }
        Fault::OneNodeOnly => {
            let left = peers[random.random_range(0..peers.len())];
            notes.push(format!("reaches {left} only"));
            let cut: Vec<Host> = peers.into_iter().filter(|peer| *peer != left).collect();
            network.trouble(&both(&cut), Trouble::Drop)
        }
        Fault::Loss => {
            let share = random.random_range(LOSS.0..=LOSS.1);
            notes.push(format!("{share} of 1000 packets"));
            network.trouble(&both(&others), Trouble::Lose(share))
        }
        Fault::Resets => {
            let share = random.random_range(RESETS.0..=RESETS.1);
            notes.push(format!("at {share} of 1000 packets"));
            network.trouble(&both(&others), Trouble::Reset(share))
        }
        Fault::Duplicates => network.trouble(&both(&others), Trouble::Duplicate),
        Fault::Reorder => {
            let (share, kbit) = (random.random_range(LATE.0..=LATE.1), random.random_range(LATE_KBIT.0..=LATE_KBIT.1));
            notes.push(format!("{share} of 1000 packets are late, at {kbit} kbit/s"));
            network.reorder(host, share, kbit)
        }
        Fault::SlowLink => {
            let kbit = random.random_range(SLOW_KBIT.0..=SLOW_KBIT.1);
            notes.push(format!("{kbit} kbit/s"));
            network.slow(host, kbit)
        }
        Fault::Delay => {
            let longest = Duration::from_millis(random.random_range(DELAY_MS.0..=DELAY_MS.1));
            notes.push(format!("by up to {longest:?}"));
            let victims = match host {
                Host::Node(_) => vec![host],
                // Nobody connects to a client: what it sends passes through the proxies of all nodes.
                Host::Client(_) => peers,
            };
            for victim in victims {
                network.delay(victim, &[7_400, 7_401], longest, random.random()).await?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
