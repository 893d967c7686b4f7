//! The table of commands: what there is, how many words it takes, and what `COMMAND` tells of it.

use bytes::Bytes;

use super::parse::{unknown_subcommand, wrong_arity};
use crate::{Reply, text::lower};

/// A command, as `COMMAND` describes it.
#[derive(Debug)]
pub(crate) struct Spec {
    /// Lower case.
    pub(crate) name: &'static str,
    /// Words with the name; at least so many where it is negative.
    arity: i64,
    flags: &'static [&'static str],
    /// Positions of the first and the last key, and the step between two; all 0: no keys, or none at fixed places.
    keys: (i64, i64, i64),
    summary: &'static str,
}

const fn of_connection(name: &'static str, arity: i64, summary: &'static str) -> Spec {
    Spec { name, arity, flags: &["noscript", "fast"], keys: (0, 0, 0), summary }
}

const fn of_scripts(name: &'static str, arity: i64, flags: &'static [&'static str], summary: &'static str) -> Spec {
    Spec { name, arity, flags, keys: (0, 0, 0), summary }
}

const fn reads(name: &'static str, arity: i64, last: i64, summary: &'static str) -> Spec {
    Spec { name, arity, flags: &["readonly", "fast"], keys: (1, last, 1), summary }
}

const fn writes(name: &'static str, arity: i64, keys: (i64, i64, i64), summary: &'static str) -> Spec {
    Spec { name, arity, flags: &["write", "denyoom"], keys, summary }
}

static TABLE: &[Spec] = &[
    of_connection("auth", -2, "Says who the client is."),
    of_connection("client", -2, "Names the connection, and tells about it."),
    of_connection("command", -1, "Tells which commands there are."),
    of_connection("echo", 2, "Answers with its argument."),
    of_connection("hello", -1, "Chooses the protocol, and says who the client is."),
    of_connection("info", -1, "Tells about the server."),
    of_connection("ping", -1, "Answers at once."),
    of_connection("quit", -1, "Ends the connection."),
    of_connection("reset", 1, "Makes the connection as it began."),
    of_connection("select", 2, "Chooses the database: there is number 0."),
    of_scripts("eval", -3, &["noscript", "movablekeys"], "Runs a script over locks."),
    of_scripts("evalsha", -3, &["noscript", "movablekeys"], "Runs a script that was sent before."),
    of_scripts("script", -2, &["noscript"], "Keeps scripts for later runs."),
    writes("del", -2, (1, -1, 1), "Releases locks."),
    writes("expire", -3, (1, 1, 1), "Sets the seconds left of a held lock."),
    writes("mset", -3, (1, -1, 2), "Takes several locks."),
    writes("msetnx", -3, (1, -1, 2), "Takes several locks if all are free."),
    writes("pexpire", -3, (1, 1, 1), "Sets the milliseconds left of a held lock."),
    writes("set", -3, (1, 1, 1), "Takes a lock, or extends it for its owner."),
    writes("setnx", 3, (1, 1, 1), "Takes a lock if it is free."),
    writes("unlink", -2, (1, -1, 1), "Releases locks."),
    reads("exists", -2, -1, "Counts the locks that are not free."),
    reads("get", 2, 1, "The owner of a lock."),
    reads("getrange", 4, 1, "A part of the name of a lock's owner."),
    reads("mget", -2, -1, "The owners of several locks."),
    reads("pttl", 2, 1, "The milliseconds left of a lock."),
    reads("strlen", 2, 1, "The length of the name of a lock's owner."),
    reads("substr", 4, 1, "A part of the name of a lock's owner."),
    reads("ttl", 2, 1, "The seconds left of a lock."),
];

impl Spec {
    /// In upper or lower case.
    pub(crate) fn find(name: &[u8]) -> Option<&'static Self> {
        TABLE.iter().find(|spec| spec.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether it can have so many words, its name counted.
    pub(crate) fn takes(&self, words: usize) -> bool {
        let words = i64::try_from(words).unwrap_or(i64::MAX);
        if self.arity < 0 { words >= -self.arity } else { words == self.arity }
    }

    /// Whether it is about keys: those a script may call.
    pub(crate) fn has_keys(&self) -> bool {
        self.keys.0 > 0
    }

    /// Its entry in the reply to `COMMAND`, in the ten fields of Redis 7.
    fn entry(&self) -> Reply {
        let statuses = |words: &[&str]| Reply::Array(words.iter().map(|word| Reply::Status((*word).into())).collect());
        let (first, last, step) = self.keys;
        Reply::Array(vec![
            Reply::text(self.name),
            Reply::Integer(self.arity),
            statuses(self.flags),
            Reply::Integer(first),
            Reply::Integer(last),
            Reply::Integer(step),
            statuses(&[]),
            Reply::Array(Vec::new()),
            Reply::Array(Vec::new()),
            Reply::Array(Vec::new()),
        ])
    }

    fn docs(&self) -> (Reply, Reply) {
        let summary = (Reply::text("summary"), Reply::text(self.summary));
        (Reply::text(self.name), Reply::Map(vec![summary]))
    }
}

/// `COMMAND …`.
pub(super) fn command_table(args: &[Bytes]) -> Result<Reply, Reply> {
    let Some((subcommand, names)) = args.split_first() else {
        return Ok(Reply::Array(TABLE.iter().map(Spec::entry).collect()));
    };
    match (lower(subcommand).as_str(), names) {
        ("count", []) => Ok(Reply::Integer(i64::try_from(TABLE.len()).unwrap_or(i64::MAX))),
        ("count", _) => Err(wrong_arity("command|count")),
        ("list", []) => Ok(Reply::Array(TABLE.iter().map(|spec| Reply::text(spec.name)).collect())),
        ("list", _) => Err(Reply::err("syntax error")),
        ("info", []) => Ok(Reply::Array(TABLE.iter().map(Spec::entry).collect())),
        ("info", names) => {
            let entry = |name: &Bytes| Spec::find(name).map_or(Reply::Nil, Spec::entry);
            Ok(Reply::Array(names.iter().map(entry).collect()))
        }
        ("docs", []) => Ok(Reply::Map(TABLE.iter().map(Spec::docs).collect())),
        ("docs", names) => Ok(Reply::Map(names.iter().filter_map(|name| Spec::find(name)).map(Spec::docs).collect())),
        _ => Err(unknown_subcommand("COMMAND", subcommand)),
    }
}
