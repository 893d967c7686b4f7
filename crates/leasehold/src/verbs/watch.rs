//! `leasehold watch`: what happens, one event a line.

use std::fmt;
use std::str::FromStr;

use leasehold_client::{Client, Revision, SessionId, WatchEvent, WatchItem, WatchTarget};
use serde::Serialize;

use super::locks::{ModeJson, mode_text};
use super::{event_name, reason_name, some_text};
use crate::cli::{ClientArgs, OutputArgs, session_id};
use crate::exit::{Exit, Failure};
use crate::output::{self, Format, ValueJson, note, printable, value_text};

#[derive(Debug, clap::Args)]
pub(crate) struct WatchArgs {
    /// Locks whose names begin with this (default: all locks and sessions of the namespace)
    #[arg(conflicts_with_all = ["name", "session"])]
    prefix: Option<String>,
    /// One lock
    #[arg(long, conflicts_with = "session")]
    name: Option<String>,
    /// One session: its grants, its waits and its end
    #[arg(long, value_parser = session_id, value_name = "ID")]
    session: Option<SessionId>,
    /// Begin after this revision, as an earlier watch printed it (default: from now on)
    #[arg(long, value_name = "REV")]
    after: Option<Rev>,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    events: Option<u64>,
    /// Print also up to where nothing happened, from time to time
    #[arg(long)]
    progress: bool,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// A revision as it is printed: `INDEX.ORDINAL`. The index alone means all of its log entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rev(Revision);

impl fmt::Display for Rev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Revision { index, ordinal } = self.0;
        if ordinal == u32::MAX { write!(f, "{index}") } else { write!(f, "{index}.{ordinal}") }
    }
}

impl FromStr for Rev {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (index, ordinal) = match text.split_once('.') {
            Some((index, ordinal)) => (index, ordinal.parse().ok()),
            None => (text, Some(u32::MAX)),
        };
        match (index.parse(), ordinal) {
            (Ok(index), Some(ordinal)) => Ok(Self(Revision { index, ordinal })),
            _ => Err(format!("{text:?} is not a revision: a log index, or INDEX.ORDINAL as `watch` prints it")),
        }
    }
}

/// What `-o json` prints of an event.
#[derive(Debug, Serialize)]
struct EventJson<'a> {
    r#type: String,
    revision: String,
    at_ms: u64,
    namespace: &'a str,
    name: Option<&'a str>,
    token: Option<String>,
    replaced: Option<String>,
    #[serde(flatten)]
    mode: Option<ModeJson>,
    lease: Option<&'a str>,
    owner: Option<&'a str>,
    reason: Option<String>,
    note: Option<&'a str>,
    #[serde(flatten)]
    value: Option<ValueJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

impl<'a> From<&'a WatchEvent> for EventJson<'a> {
    fn from(event: &'a WatchEvent) -> Self {
        let token = |token: u64| (token != 0).then(|| token.to_string());
        let has_mode = event.mode() != leasehold_client::Mode::Unspecified;
        let sets_value = event.r#type() == leasehold_client::EventType::ValueSet;
        Self {
            r#type: event_name(event.r#type()),
            revision: Rev(event.revision.unwrap_or_default()).to_string(),
            at_ms: event.at_ms,
            namespace: &event.namespace,
            name: some_text(&event.name),
            token: token(event.token),
            replaced: token(event.replaced),
            mode: has_mode.then(|| ModeJson::of(event.mode(), event.permits, event.limit)),
            lease: some_text(&event.lease),
            owner: some_text(&event.owner),
            reason: reason_name(event.reason()),
            note: some_text(&event.note),
            value: sets_value.then(|| event.value.as_slice().into()),
            version: sets_value.then_some(event.version),
        }
    }
}

/// What `-o json` prints of the watch itself.
#[derive(Debug, Serialize)]
struct WatchJson {
    r#type: &'static str,
    revision: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

pub(super) async fn run(args: WatchArgs) -> Result<Exit, Failure> {
    let target = match (args.prefix, args.name, args.session) {
        (Some(prefix), ..) => WatchTarget::Prefix(prefix),
        (None, Some(name), _) => WatchTarget::Lock(name),
        (None, None, Some(session)) => WatchTarget::Session(session),
        (None, None, None) => WatchTarget::Namespace,
    };
    let client = Client::connect(args.client.options()).await?;
    let mut watch = match args.after {
        Some(Rev(after)) => client.watch_after(target, after),
        None => client.watch(target),
    };
    let mut left = args.events;
    while left != Some(0) {
        let Some(item) = watch.next().await else { break };
        let item = item?;
        let read = match args.output.output {
            Format::Json => print_json(&item, args.progress)?,
            Format::Table => print_line(&item, args.progress),
        };
        if !read {
            break;
        }
        if matches!(item, WatchItem::Event(_)) {
            left = left.map(|left| left - 1);
        }
    }
    Ok(Exit::Ok)
}

/// Says whether anybody reads it.
fn print_json(item: &WatchItem, progress: bool) -> Result<bool, Failure> {
    let (r#type, revision, after) = match item {
        WatchItem::Event(event) => return output::json(&EventJson::from(event)),
        WatchItem::Progress(_) if !progress => return Ok(true),
        WatchItem::Started { from } => ("started", *from, None),
        WatchItem::Gap { after, from } => ("gap", *from, Some(Rev(*after).to_string())),
        WatchItem::Progress(revision) => ("progress", *revision, None),
    };
    output::json(&WatchJson { r#type, revision: Rev(revision).to_string(), after })
}

/// Says whether anybody reads it.
fn print_line(item: &WatchItem, progress: bool) -> bool {
    match item {
        WatchItem::Event(event) => return output::data(&line(event)),
        WatchItem::Started { from } => note(&format!("leasehold: watching after revision {}", Rev(*from))),
        WatchItem::Gap { after, from } => note(&format!(
            "leasehold: what happened between revisions {} and {} is no longer remembered",
            Rev(*after),
            Rev(*from)
        )),
        WatchItem::Progress(revision) if progress => note(&format!("leasehold: nothing up to {}", Rev(*revision))),
        WatchItem::Progress(_) => {}
    }
    true
}

/// `12.0  granted  orders  exclusive  token 7  by alice`, and what else it says.
fn line(event: &WatchEvent) -> String {
    let revision = Rev(event.revision.unwrap_or_default()).to_string();
    let mut words = vec![format!("{revision:<8}"), format!("{:<14}", event_name(event.r#type()))];
    if !event.name.is_empty() {
        words.push(printable(&event.name));
    }
    if event.mode() != leasehold_client::Mode::Unspecified {
        words.push(mode_text(event.mode(), event.permits, event.limit));
    }
    if event.token != 0 {
        words.push(format!("token {}", event.token));
    }
    if event.replaced != 0 {
        words.push(format!("instead of {}", event.replaced));
    }
    if !event.owner.is_empty() {
        words.push(format!("by {}", printable(&event.owner)));
    }
    if !event.lease.is_empty() {
        words.push(format!("lease {}", event.lease));
    }
    if event.r#type() == leasehold_client::EventType::ValueSet {
        words.push(format!("version {}: {}", event.version, printable(&value_text(&event.value))));
    }
    if let Some(reason) = reason_name(event.reason()) {
        words.push(reason.replace('_', " "));
    }
    if !event.note.is_empty() {
        words.push(format!("({})", printable(&event.note)));
    }
    words.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_read_as_they_are_printed() {
        for text in ["12.0", "12.7", "12"] {
            assert_eq!(text.parse::<Rev>().unwrap().to_string(), text);
        }
        assert_eq!("12".parse(), Ok(Rev(Revision { index: 12, ordinal: u32::MAX })));
        for text in ["", "a", "1.", ".1", "1.2.3", "-1"] {
            assert!(text.parse::<Rev>().is_err(), "{text}");
        }
    }
}
