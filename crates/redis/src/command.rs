//! Requests that are understood.

mod connection;
mod parse;
mod table;

use bytes::Bytes;

pub use parse::parse;
pub(crate) use table::Spec;

use crate::{Entry, Evaluated, Protocol, Refused, Reply, Sha1, keyspace::Keyspace, operation::Call};

/// A request that is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `HELLO`.
    Hello(Hello),
    /// `AUTH [user] password`.
    Auth {
        /// None: the default user.
        user: Option<Bytes>,
        /// As it came.
        password: Bytes,
    },
    /// `SELECT`: 0 alone is there; others are refused by `parse`.
    Select,
    /// `PING [text]`.
    Ping(Option<Bytes>),
    /// `ECHO text`.
    Echo(Bytes),
    /// `CLIENT …`.
    Client(ClientCommand),
    /// `INFO [section …]`, lower case; empty: all.
    Info(Vec<String>),
    /// `COMMAND`, `COMMAND DOCS|INFO|COUNT|LIST …`: answered from the table of commands, here.
    CommandTable(Reply),
    /// `QUIT`.
    Quit,
    /// `RESET`.
    Reset,
    /// `SCRIPT …`.
    Script(ScriptCommand),
    /// `EVAL body n keys… args…`.
    Eval {
        /// The script.
        body: Bytes,
        /// `KEYS`.
        keys: Vec<Bytes>,
        /// `ARGV`.
        args: Vec<Bytes>,
    },
    /// `EVALSHA sha1 n keys… args…`.
    EvalSha {
        /// Of the body.
        sha1: Sha1,
        /// `KEYS`.
        keys: Vec<Bytes>,
        /// `ARGV`.
        args: Vec<Bytes>,
    },
    /// A command that looks at keys or changes them.
    Keys(KeyCommand),
}

/// `HELLO [2|3 [AUTH user password] [SETNAME name]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// None: stay as it is.
    pub protocol: Option<Protocol>,
    /// User and password.
    pub auth: Option<(Bytes, Bytes)>,
    /// As with `CLIENT SETNAME`.
    pub name: Option<Bytes>,
}

/// `CLIENT …`. Names and values have at most [`ClientCommand::NAME_BYTES_MAX`] printable characters of ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCommand {
    /// `SETINFO lib-name|lib-ver value`.
    SetInfo {
        /// Lower case.
        attribute: String,
        /// As it came.
        value: Bytes,
    },
    /// `SETNAME`.
    SetName(Bytes),
    /// `GETNAME`.
    GetName,
    /// `ID`.
    Id,
    /// `INFO`.
    Info,
}

impl ClientCommand {
    /// Longest name of a client or of its library, in bytes.
    pub const NAME_BYTES_MAX: usize = 256;
}

/// `SCRIPT …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptCommand {
    /// `LOAD body`.
    Load(Bytes),
    /// `EXISTS sha1…`.
    Exists(Vec<Bytes>),
    /// `FLUSH [ASYNC|SYNC]`.
    Flush,
}

/// A command that looks at keys or changes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyCommand {
    name: &'static str,
    call: Call,
    /// Without repeats, in the order of their first mention.
    keys: Vec<Bytes>,
    /// For each mention of a key, which of `keys` it is.
    mentions: Vec<usize>,
}

impl Command {
    /// Lower case, for counters and logs: one of a fixed set.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Auth { .. } => "auth",
            Self::Select => "select",
            Self::Ping(_) => "ping",
            Self::Echo(_) => "echo",
            Self::Client(_) => "client",
            Self::Info(_) => "info",
            Self::CommandTable(_) => "command",
            Self::Quit => "quit",
            Self::Reset => "reset",
            Self::Script(_) => "script",
            Self::Eval { .. } => "eval",
            Self::EvalSha { .. } => "evalsha",
            Self::Keys(command) => command.name,
        }
    }
}

impl KeyCommand {
    fn new(name: &'static str, call: Call) -> Self {
        let (keys, mentions) = distinct(&call.keys);
        Self { name, call, keys, mentions }
    }

    /// Its keys, distinct, in the order that [`KeyCommand::evaluate`] wants the entries in.
    #[must_use]
    pub fn keys(&self) -> &[Bytes] {
        &self.keys
    }

    /// What it does where its keys look so.
    ///
    /// # Panics
    /// When there are not as many entries as keys.
    pub fn evaluate(&self, entries: &[Entry]) -> Result<Evaluated, Refused> {
        assert_eq!(entries.len(), self.keys.len(), "one entry for each key");
        let mut keyspace = Keyspace::new(&self.keys, entries);
        let reply = keyspace.execute(&self.call.operation, &self.mentions, true)?;
        keyspace.finish(reply)
    }
}

/// Keys without repeats, and for each mention which of them it is.
pub(crate) fn distinct(mentioned: &[Bytes]) -> (Vec<Bytes>, Vec<usize>) {
    let mut indices = std::collections::HashMap::new();
    let mut keys = Vec::new();
    let mut mentions = Vec::with_capacity(mentioned.len());
    for key in mentioned {
        mentions.push(*indices.entry(key).or_insert_with(|| {
            keys.push(key.clone());
            keys.len() - 1
        }));
    }
    (keys, mentions)
}

#[cfg(test)]
mod tests;
