//! `leasehold session …`.

use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use leasehold_client::{Client, Error, GrantInfo, LeaseId, Renewed, SessionId, SessionInfo, TTL_DEFAULT};
use serde::Serialize;

use super::locks::{GrantJson, why_text};
use super::{because, reason_name, whole_millis};
use crate::cli::{ClientArgs, OutputArgs, duration, session_id};
use crate::exit::{Exit, Failure};
use crate::output::{self, Format, note, span_ms};

#[derive(Debug, clap::Args)]
pub(crate) struct SessionOpenArgs {
    /// Time to live between keep-alives
    #[arg(long, value_parser = duration, value_name = "DUR")]
    ttl: Option<Duration>,
    /// Who opens it, as others see it (default: user@host:pid)
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    owner: Option<String>,
    /// A text that others see with it: a host, a process, a note
    #[arg(long, value_name = "TEXT", default_value = "")]
    metadata: String,
    /// Its id, 32 hexadecimal digits that nobody can guess (default: random): opening it twice under one id is harmless
    #[arg(long, value_parser = session_id, value_name = "ID")]
    id: Option<SessionId>,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct KeepAliveArgs {
    /// The session
    #[arg(value_parser = session_id, value_name = "ID")]
    session: SessionId,
    /// Renew it once, and end
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SessionArgs {
    /// The session
    #[arg(value_parser = session_id, value_name = "ID")]
    session: SessionId,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SessionLsArgs {
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// A session that lives, as `open` and `keep-alive` print it.
#[derive(Debug, Serialize)]
struct AliveJson {
    session: String,
    ttl_ms: u64,
}

#[derive(Debug, Serialize)]
struct ClosedJson {
    closed: bool,
    grants_ended: u32,
}

/// A session as `ls` and `get` print it.
#[derive(Debug, Serialize)]
struct SessionJson<'a> {
    session: &'a str,
    namespace: &'a str,
    owner: &'a str,
    metadata: &'a str,
    ttl_ms: u64,
    left_ms: u64,
    open_ms: u64,
    grants: Vec<GrantJson<'a>>,
    grant_count: u32,
    wait_count: u32,
}

impl<'a> SessionJson<'a> {
    fn new(info: &'a SessionInfo, grants: &'a [GrantInfo]) -> Self {
        let SessionInfo { session, namespace, owner, metadata, ttl_ms, left_ms, open_ms, .. } = info;
        Self {
            session,
            namespace,
            owner,
            metadata,
            ttl_ms: *ttl_ms,
            left_ms: *left_ms,
            open_ms: *open_ms,
            grants: grants.iter().map(Into::into).collect(),
            grant_count: info.grant_count,
            wait_count: info.wait_count,
        }
    }
}

fn grants_of(info: &SessionInfo) -> Vec<GrantInfo> {
    info.grants.iter().map(Into::into).collect()
}

/// One that is not open (any more).
#[derive(Debug, Serialize)]
struct NotOpenJson {
    session: Option<()>,
    reason: Option<String>,
}

pub(super) async fn open(args: SessionOpenArgs) -> Result<Exit, Failure> {
    let SessionOpenArgs { ttl, owner, metadata, id, client, output } = args;
    let client = Client::connect(client.options()).await?;
    let id = id.unwrap_or_else(SessionId::random);
    let owner = owner.unwrap_or_else(|| client.options().owner.clone());
    let opened = client.open_session(id, ttl.unwrap_or(TTL_DEFAULT), &owner, &metadata).await;
    let left = opened.map_err(|error| {
        let in_doubt = matches!(error, Error::FateUnknown { .. });
        let failure = Failure::from(error);
        // It may be open: then this is how to ask again, or to close it.
        if in_doubt { Failure::new(failure.exit, format!("{} (session {id})", failure.message)) } else { failure }
    })?;
    print_alive(id, left, output.output)?;
    Ok(Exit::Ok)
}

fn print_alive(id: SessionId, left: Duration, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => {
            output::json(&AliveJson { session: id.to_string(), ttl_ms: whole_millis(left) })?;
        }
        Format::Table => output::table(["SESSION", "TTL"], [[id.to_string(), output::span(left)]]),
    }
    Ok(())
}

pub(super) async fn keep_alive(args: KeepAliveArgs) -> Result<Exit, Failure> {
    let KeepAliveArgs { session: id, once, client, output } = args;
    let client = Client::connect(client.options()).await?;
    if once {
        return match client.renew(&LeaseId::from(id), None).await? {
            Renewed::Alive { ttl } => print_alive(id, ttl, output.output).map(|()| Exit::Ok),
            Renewed::Ended { reason } => Err(not_open(id, &because(reason))),
        };
    }
    let session = client.attach_session(id).await?;
    print_alive(id, session.deadline_left(), output.output)?;
    // Somebody else's: it goes on without us.
    let loss = session.lost().await;
    Err(Failure::new(Exit::Lost, format!("session {id} was lost: {}", why_text(&loss))))
}

fn not_open(id: SessionId, why: &str) -> Failure {
    Failure::new(Exit::Refused, format!("session {id} is not open{why}"))
}

pub(super) async fn close(args: SessionArgs) -> Result<Exit, Failure> {
    let SessionArgs { session: id, client, output } = args;
    let client = Client::connect(client.options()).await?;
    let answer = client.close_lease(&LeaseId::from(id)).await?;
    if !answer.closed {
        note(&format!("leasehold: session {id} was not open"));
    }
    match output.output {
        Format::Json => {
            output::json(&ClosedJson { closed: answer.closed, grants_ended: answer.grants_ended })?;
        }
        Format::Table => {
            let row = [id.to_string(), answer.closed.to_string(), answer.grants_ended.to_string()];
            output::table(["SESSION", "CLOSED", "GRANTS ENDED"], [row]);
        }
    }
    Ok(Exit::Ok)
}

pub(super) async fn ls(args: SessionLsArgs) -> Result<Exit, Failure> {
    let client = Client::connect(args.client.options()).await?;
    let sessions = client.list_sessions().await?;
    match args.output.output {
        Format::Json => {
            let grants: Vec<_> = sessions.iter().map(grants_of).collect();
            let json = sessions.iter().zip(&grants).map(|(info, grants)| SessionJson::new(info, grants));
            output::json(&json.collect::<Vec<_>>())?;
        }
        Format::Table => print_table(&sessions),
    }
    Ok(Exit::Ok)
}

fn print_table(sessions: &[SessionInfo]) {
    let row = |info: &SessionInfo| {
        let SessionInfo { session, owner, metadata, ttl_ms, left_ms, open_ms, grant_count, wait_count, .. } = info;
        let (ttl, left, open) = (span_ms(*ttl_ms), span_ms(*left_ms), span_ms(*open_ms));
        let (locks, waits) = (grant_count.to_string(), wait_count.to_string());
        [session.clone(), owner.clone(), ttl, left, open, locks, waits, metadata.clone()]
    };
    let header = ["SESSION", "OWNER", "TTL", "LEFT", "OPEN", "LOCKS", "WAITS", "METADATA"];
    output::table_without_empty(7, header, sessions.iter().map(row));
}

pub(super) async fn get(args: SessionArgs) -> Result<Exit, Failure> {
    let SessionArgs { session: id, client, output } = args;
    let client = Client::connect(client.options()).await?;
    let answer = client.get_session(id).await?;
    let Some(info) = &answer.session else {
        let reason = reason_name(answer.reason());
        if output.output == Format::Json {
            output::json(&NotOpenJson { session: None, reason: reason.clone() })?;
        }
        return Err(not_open(id, &because(reason.map(|_| answer.reason()))));
    };
    let grants = grants_of(info);
    match output.output {
        Format::Json => {
            output::json(&SessionJson::new(info, &grants))?;
        }
        Format::Table => {
            print_table(std::slice::from_ref(info));
            if !grants.is_empty() {
                output::data("");
                let row = |grant: &GrantInfo| {
                    let mode = super::locks::lock_mode_text(grant.mode);
                    [grant.name.clone(), mode, grant.token.to_string()]
                };
                output::table(["LOCK", "MODE", "TOKEN"], grants.iter().map(row));
            }
        }
    }
    Ok(Exit::Ok)
}
