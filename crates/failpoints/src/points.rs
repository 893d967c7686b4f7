//! All failpoints, one line each. A test compares them with the sources.

/// What can happen at a place, beside that the process ends or waits there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing else.
    Passes,
    /// An error.
    Fails,
    /// The step may be left out.
    Skips,
    /// An error, or the step may be left out.
    Steps,
}

/// One place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// `area::step::before` or `area::step::after`.
    pub name: &'static str,
    /// What can happen there.
    pub kind: Kind,
}

const fn passes(name: &'static str) -> Point {
    Point { name, kind: Kind::Passes }
}

const fn fails(name: &'static str) -> Point {
    Point { name, kind: Kind::Fails }
}

const fn skips(name: &'static str) -> Point {
    Point { name, kind: Kind::Skips }
}

const fn steps(name: &'static str) -> Point {
    Point { name, kind: Kind::Steps }
}

/// All failpoints.
#[rustfmt::skip]
pub const POINTS: &[Point] = &[
    // Small files that are replaced as a whole: the identity, the log's format.
    fails("record::create::before"),
    fails("record::write::before"),
    fails("record::write::after"),
    steps("record::sync::before"),
    fails("record::sync::after"),
    fails("record::rename::before"),
    fails("record::rename::after"),
    steps("folder::sync::before"),
    fails("folder::sync::after"),
    // Who this node is, and how a cluster begins.
    fails("identity::create::before"),
    fails("identity::create::after"),
    fails("identity::join::before"),
    fails("identity::join::after"),
    passes("formation::ask::before"),
    passes("formation::initialize::before"),
    passes("formation::initialize::after"),
    // The Raft log and the vote.
    fails("log::create::before"),
    fails("log::create::after"),
    fails("log::open::before"),
    fails("log::open::after"),
    fails("vote::save::before"),
    fails("vote::sync::before"),
    fails("vote::save::after"),
    fails("log::append::before"),
    fails("log::append::after"),
    skips("log::flush::before"),
    steps("log::sync::before"),
    fails("log::sync::after"),
    fails("log::mark::before"),
    fails("log::mark::after"),
    fails("mark::write::before"),
    steps("mark::sync::before"),
    fails("mark::sync::after"),
    fails("log::commit::before"),
    fails("log::commit::after"),
    fails("log::truncate::before"),
    fails("log::cut::after"),
    fails("log::truncate::after"),
    fails("log::purge::before"),
    fails("log::purge::after"),
    // Entries and their outcomes.
    passes("propose::entry::before"),
    passes("propose::entry::after"),
    fails("apply::entry::before"),
    fails("apply::entry::after"),
    passes("apply::answer::after"),
    passes("acquire::submit::before"),
    passes("grant::answer::before"),
    // The checkpoint.
    fails("checkpoint::open::before"),
    fails("checkpoint::open::after"),
    fails("checkpoint::take::before"),
    fails("checkpoint::take::after"),
    fails("checkpoint::batch::before"),
    fails("checkpoint::batch::after"),
    steps("checkpoint::flush::before"),
    fails("checkpoint::flush::after"),
    fails("checkpoint::replace::before"),
    fails("checkpoint::replacing::after"),
    fails("checkpoint::replaced::before"),
    fails("checkpoint::replace::after"),
    fails("checkpoint::discard::before"),
    fails("checkpoint::discard::after"),
    // Snapshots: made, received, installed.
    fails("snapshot::build::before"),
    fails("snapshot::build::after"),
    fails("snapshot::create::before"),
    fails("snapshot::create::after"),
    fails("snapshot::row::before"),
    fails("snapshot::end::before"),
    steps("snapshot::sync::before"),
    fails("snapshot::sync::after"),
    fails("snapshot::rename::before"),
    fails("snapshot::rename::after"),
    fails("snapshot::remove::before"),
    fails("snapshot::remove::after"),
    fails("snapshot::left_over::before"),
    fails("snapshot::load::before"),
    fails("receive::chunk::before"),
    fails("receive::chunk::after"),
    fails("receive::check::before"),
    fails("receive::check::after"),
    fails("install::snapshot::before"),
    fails("install::load::before"),
    fails("install::load::after"),
    fails("install::checkpoint::after"),
    passes("install::tables::before"),
    passes("install::tables::after"),
    fails("install::snapshot::after"),
    // What a node finds when it starts, and its orderly end.
    fails("recovery::lock::after"),
    fails("recovery::log::after"),
    fails("recovery::snapshot::after"),
    fails("recovery::checkpoint::after"),
    fails("recovery::install::before"),
    fails("recovery::install::after"),
    fails("recovery::purge::before"),
    fails("recovery::purge::after"),
    passes("stop::checkpoint::before"),
    passes("stop::log::before"),
    passes("stop::log::after"),
    // What peers tell each other.
    passes("peer_append::send::before"),
    passes("peer_append::answer::before"),
    passes("peer_append::answer::after"),
    passes("peer_vote::send::before"),
    passes("peer_vote::answer::before"),
    passes("peer_vote::answer::after"),
    passes("peer_forward::send::before"),
    passes("peer_forward::answer::before"),
    passes("peer_forward::answer::after"),
    passes("peer_snapshot::send::before"),
    passes("peer_snapshot::chunk::before"),
    passes("peer_snapshot::answer::before"),
    passes("peer_snapshot::answer::after"),
    passes("peer_read_index::answer::before"),
];

/// Where a failpoint stands in [`POINTS`]. For the macro, at compile time: a name that is not listed, or listed as something else,
/// does not compile.
///
/// # Panics
/// When there is no failpoint of that name and kind.
#[must_use]
pub const fn index_of(name: &str, kind: Kind) -> usize {
    let mut at = 0;
    while at < POINTS.len() {
        if is_same(POINTS[at].name.as_bytes(), name.as_bytes()) {
            assert!(POINTS[at].kind as u8 == kind as u8, "POINTS lists this failpoint as another kind");
            return at;
        }
        at += 1;
    }
    panic!("POINTS does not list this failpoint")
}

const fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}
