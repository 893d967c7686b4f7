//! The state of every link between two hosts, from the faults that are in force.

use std::collections::BTreeMap;

use turmoil::Sim;

/// What becomes of messages between two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Link {
    /// They arrive once the link is whole again.
    Held,
    /// Those from the first host to the second one are lost.
    OneWay,
    /// Those from the second host to the first one are lost.
    OtherWay,
    /// They are lost.
    Cut,
}

/// Names of two hosts, in order.
pub(super) type Pair = (String, String);

/// All links that are not whole.
#[derive(Debug, Default)]
pub(super) struct Links(BTreeMap<Pair, Link>);

/// The pair in order, and the state as that order sees it.
pub(super) fn ordered(a: &str, b: &str, link: Link) -> (Pair, Link) {
    if a <= b {
        return ((a.to_owned(), b.to_owned()), link);
    }
    let link = match link {
        Link::OneWay => Link::OtherWay,
        Link::OtherWay => Link::OneWay,
        other => other,
    };
    ((b.to_owned(), a.to_owned()), link)
}

impl Links {
    /// Makes the links what `wanted` says; those that it does not name are whole.
    pub(super) fn set(&mut self, sim: &Sim<'_>, wanted: BTreeMap<Pair, Link>) {
        for (pair, link) in &self.0 {
            if wanted.get(pair) != Some(link) {
                mend(sim, pair, *link);
            }
        }
        for (pair, link) in &wanted {
            if self.0.get(pair) != Some(link) {
                harm(sim, pair, *link);
            }
        }
        self.0 = wanted;
    }
}

fn mend(sim: &Sim<'_>, (a, b): &Pair, link: Link) {
    match link {
        Link::Held => sim.release(a.as_str(), b.as_str()),
        Link::OneWay => sim.repair_oneway(a.as_str(), b.as_str()),
        Link::OtherWay => sim.repair_oneway(b.as_str(), a.as_str()),
        Link::Cut => sim.repair(a.as_str(), b.as_str()),
    }
}

fn harm(sim: &Sim<'_>, (a, b): &Pair, link: Link) {
    match link {
        Link::Held => sim.hold(a.as_str(), b.as_str()),
        Link::OneWay => sim.partition_oneway(a.as_str(), b.as_str()),
        Link::OtherWay => sim.partition_oneway(b.as_str(), a.as_str()),
        Link::Cut => sim.partition(a.as_str(), b.as_str()),
    }
}
