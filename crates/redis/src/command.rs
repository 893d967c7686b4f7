use bytes::Bytes;

use crate::{Entry, Evaluated, Protocol, Refused, Reply, Request, Sha1};

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

/// `CLIENT …`.
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
    // Its words, understood.
    words: Vec<Bytes>,
}

/// Understands a request, or says what is wrong with it, as Redis would.
pub fn parse(request: &Request) -> Result<Command, Reply> {
    let _ = request;
    unimplemented!("comes next")
}

impl Command {
    /// Lower case, for counters and logs: one of a fixed set.
    #[must_use]
    pub fn name(&self) -> &'static str {
        unimplemented!("comes next")
    }
}

impl KeyCommand {
    /// Its keys, distinct, in the order that [`KeyCommand::evaluate`] wants the entries in.
    #[must_use]
    pub fn keys(&self) -> &[Bytes] {
        &self.words
    }

    /// What it does where its keys look so.
    pub fn evaluate(&self, entries: &[Entry]) -> Result<Evaluated, Refused> {
        let _ = entries;
        unimplemented!("comes next")
    }
}
