//! One client: who it is, what it speaks, and what it is answered.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use leasehold_redis::{ClientCommand, Command, Hello, Protocol, Reply, Request, Script, ScriptCommand, Sha1, parse};

use super::accounts::Account;
use super::door::Door;
use super::errors::Failure;
use super::execute::{Caller, Executed, Program, execute};
use super::info;
use super::options::USER_DEFAULT;
use crate::calls::{CallTime, CancelGuard};
use crate::metrics;

/// The state of a connection apart from its bytes.
pub(super) struct Client {
    id: u64,
    peer: SocketAddr,
    protocol: Protocol,
    /// None: it has not said who it is, and must.
    account: Option<Arc<Account>>,
    name: Bytes,
    library_name: Bytes,
    library_version: Bytes,
}

/// What a request is answered with.
pub(super) struct Answer {
    pub(super) reply: Reply,
    /// What cancels that which was acquired, until the reply is handed out.
    pub(super) guard: Option<CancelGuard>,
    /// The connection ends after the reply.
    pub(super) last: bool,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self { reply, guard: None, last: false }
    }
}

fn error(text: impl Into<String>) -> Reply {
    Reply::Error(text.into())
}

impl Client {
    pub(super) fn new(id: u64, peer: SocketAddr, door: &Door) -> Self {
        let nothing = Bytes::new;
        let (name, library_name, library_version) = (nothing(), nothing(), nothing());
        let account = door.accounts().open();
        Self { id, peer, protocol: Protocol::default(), account, name, library_name, library_version }
    }

    /// What replies are written in.
    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Answers one request.
    pub(super) async fn answer(&mut self, door: &Door, request: &Request) -> Answer {
        door.count_command();
        let command = match parse(request) {
            Ok(command) => command,
            Err(reply) => {
                metrics::Call::begin(metrics::Door::Redis, "unknown").end("not_understood");
                return reply.into();
            }
        };
        let call = metrics::Call::begin(metrics::Door::Redis, command.name());
        match self.perform(door, command).await {
            Ok(answer) => {
                call.end(if matches!(answer.reply, Reply::Error(_)) { "refused" } else { "ok" });
                answer
            }
            Err(failure) => {
                match &failure {
                    Failure::Call(error) => call.fail(error),
                    Failure::Refused(refused) => {
                        metrics::redis_refused(refused.kind);
                        call.end("refused");
                    }
                }
                failure.reply().into()
            }
        }
    }

    async fn perform(&mut self, door: &Door, command: Command) -> Result<Answer, Failure> {
        let free = matches!(command, Command::Hello(_) | Command::Auth { .. } | Command::Quit | Command::Reset);
        let account = self.account.clone();
        let Some(account) = account.or_else(|| free.then(|| Arc::new(Account::nobody()))) else {
            return Ok(error("NOAUTH Authentication required.").into());
        };
        let reply = match command {
            Command::Hello(hello) => self.hello(door, &hello),
            Command::Auth { user, password } => self.auth(door, user.as_deref(), &password),
            Command::Select => Reply::ok(),
            Command::Ping(None) => Reply::Status("PONG".into()),
            Command::Ping(Some(text)) | Command::Echo(text) => Reply::Bulk(text),
            Command::Client(command) => self.client(&command, &account),
            Command::Info(sections) => Reply::text(info::text(door, &sections)),
            Command::CommandTable(reply) => reply,
            Command::Quit => return Ok(Answer { last: true, ..Reply::ok().into() }),
            Command::Reset => {
                *self = Self::new(self.id, self.peer, door);
                Reply::Status("RESET".into())
            }
            Command::Script(command) => script(door, command)?,
            Command::Eval { body, keys, args } => {
                let (_, script) = door.scripts().load(&body)?;
                return self.run_script(door, &account, &script, (&keys, &args)).await;
            }
            Command::EvalSha { sha1, keys, args } => match door.scripts().get(sha1) {
                Some(script) => return self.run_script(door, &account, &script, (&keys, &args)).await,
                None => error("NOSCRIPT No matching script. Please use EVAL."),
            },
            Command::Keys(command) => return self.run(door, &account, &Program::Command(&command)).await,
        };
        Ok(reply.into())
    }

    async fn run_script(
        &self,
        door: &Door,
        account: &Account,
        script: &Script,
        (keys, args): (&[Bytes], &[Bytes]),
    ) -> Result<Answer, Failure> {
        self.run(door, account, &Program::Script { script, keys, args }).await
    }

    async fn run(&self, door: &Door, account: &Account, program: &Program<'_>) -> Result<Answer, Failure> {
        let name = std::str::from_utf8(&self.name).unwrap_or_default();
        let caller = Caller { account, peer: self.peer, name };
        let time = CallTime::begin(None, door.calls().options());
        let Executed { reply, guard } = Box::pin(execute(door, &caller, program, time)).await?;
        Ok(Answer { reply, guard, last: false })
    }

    fn hello(&mut self, door: &Door, hello: &Hello) -> Reply {
        let account = match &hello.auth {
            Some((user, password)) => match door.accounts().find(user, password) {
                Some(account) => Some(account),
                None => return wrong_password(),
            },
            None => self.account.clone(),
        };
        if account.is_none() {
            return error(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> \
                 <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
            );
        }
        self.account = account;
        self.protocol = hello.protocol.unwrap_or(self.protocol);
        if let Some(name) = &hello.name {
            self.name = name.clone();
        }
        let protocol = match self.protocol {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        };
        let pair = |name: &str, value: Reply| (Reply::text(name), value);
        Reply::Map(vec![
            // Clients look for this word.
            pair("server", Reply::text("redis")),
            pair("version", Reply::text(info::REDIS_VERSION)),
            pair("proto", Reply::Integer(protocol)),
            pair("id", Reply::Integer(self.id_number())),
            pair("mode", Reply::text("standalone")),
            pair("role", Reply::text("master")),
            pair("modules", Reply::Array(Vec::new())),
        ])
    }

    fn auth(&mut self, door: &Door, user: Option<&[u8]>, password: &[u8]) -> Reply {
        if user.is_none() && door.accounts().open().is_some() {
            return error(
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            );
        }
        match door.accounts().find(user.unwrap_or(USER_DEFAULT.as_bytes()), password) {
            Some(account) => {
                self.account = Some(account);
                Reply::ok()
            }
            None => wrong_password(),
        }
    }

    fn client(&mut self, command: &ClientCommand, account: &Account) -> Reply {
        match command {
            ClientCommand::SetInfo { attribute, value } => {
                let told = if attribute == "lib-name" { &mut self.library_name } else { &mut self.library_version };
                *told = value.clone();
                Reply::ok()
            }
            ClientCommand::SetName(name) => {
                self.name = name.clone();
                Reply::ok()
            }
            ClientCommand::GetName if self.name.is_empty() => Reply::Nil,
            ClientCommand::GetName => Reply::Bulk(self.name.clone()),
            ClientCommand::Id => Reply::Integer(self.id_number()),
            ClientCommand::Info => {
                let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
                Reply::text(format!(
                    "id={} addr={} name={} db=0 user={} lib-name={} lib-ver={}\n",
                    self.id,
                    self.peer,
                    text(&self.name),
                    account.user,
                    text(&self.library_name),
                    text(&self.library_version)
                ))
            }
        }
    }

    fn id_number(&self) -> i64 {
        i64::try_from(self.id).unwrap_or(i64::MAX)
    }
}

fn wrong_password() -> Reply {
    error("WRONGPASS invalid username-password pair or user is disabled.")
}

fn script(door: &Door, command: ScriptCommand) -> Result<Reply, Failure> {
    Ok(match command {
        ScriptCommand::Load(body) => Reply::text(door.scripts().load(&body)?.0.to_string()),
        ScriptCommand::Exists(names) => {
            let there = |name: &Bytes| sha1_of(name).is_some_and(|name| door.scripts().has(name));
            Reply::Array(names.iter().map(|name| Reply::Integer(i64::from(there(name)))).collect())
        }
        ScriptCommand::Flush => {
            door.scripts().flush();
            Reply::ok()
        }
    })
}

/// 40 hexadecimal digits.
fn sha1_of(text: &[u8]) -> Option<Sha1> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() == 40 && text.is_ascii())?;
    let mut bytes = [0; 20];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(Sha1(bytes))
}
