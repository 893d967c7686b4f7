//! `leasehold release`.

use leasehold_client::{Client, ReleasedLock, Token};
use serde::Serialize;

use super::{because, reason_name};
use crate::cli::{ClientArgs, OutputArgs};
use crate::exit::{Exit, Failure};
use crate::output::{self, Format, note, printable};

#[derive(Debug, clap::Args)]
pub(crate) struct ReleaseArgs {
    /// The lock and its fencing token, as acquire printed it; or several such pairs
    #[arg(required = true, num_args = 2.., value_names = ["NAME", "TOKEN"])]
    locks: Vec<String>,
    /// Of several: release none of them if one is no longer held
    #[arg(long)]
    all_or_nothing: bool,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What `-o json` prints of one lock.
#[derive(Debug, Serialize)]
struct ReleaseJson {
    released: bool,
    reason: Option<String>,
}

/// What `-o json` prints of several, in an array.
#[derive(Debug, Serialize)]
struct ReleasedJson<'a> {
    name: &'a str,
    token: String,
    released: bool,
    reason: Option<String>,
    still_held: bool,
}

impl<'a> From<&'a ReleasedLock> for ReleasedJson<'a> {
    fn from(lock: &'a ReleasedLock) -> Self {
        let ReleasedLock { name, token, released, reason, still_held } = lock;
        let reason = reason.and_then(reason_name);
        Self { name, token: token.to_string(), released: *released, reason, still_held: *still_held }
    }
}

pub(super) async fn run(args: ReleaseArgs) -> Result<Exit, Failure> {
    let locks = pairs(&args.locks)?;
    let client = Client::connect(args.client.options()).await?;
    let answers = match locks.as_slice() {
        [(name, token)] => {
            let answer = client.release(name, *token).await?;
            let (released, reason) = (answer.released, answer.reason);
            vec![ReleasedLock { name: name.clone(), token: *token, released, reason, still_held: false }]
        }
        locks => client.release_all(locks, args.all_or_nothing).await?,
    };
    for lock in answers.iter().filter(|lock| !lock.released) {
        let (name, token) = (printable(&lock.name), lock.token);
        note(&match lock.still_held {
            true => format!("leasehold: {name} is still held under token {token}: another one was not"),
            false => format!("leasehold: {name} was no longer held under token {token}{}", because(lock.reason)),
        });
    }
    match (args.output.output, answers.as_slice()) {
        (Format::Json, [lock]) => {
            output::json(&ReleaseJson { released: lock.released, reason: lock.reason.and_then(reason_name) })?;
        }
        (Format::Json, locks) => {
            output::json(&locks.iter().map(ReleasedJson::from).collect::<Vec<_>>())?;
        }
        (Format::Table, locks) => {
            let row = |lock: &ReleasedLock| {
                let reason = lock.reason.and_then(reason_name).unwrap_or_default();
                [lock.name.clone(), lock.released.to_string(), reason]
            };
            output::table(["LOCK", "RELEASED", "REASON"], locks.iter().map(row));
        }
    }
    Ok(Exit::Ok)
}

/// NAME TOKEN NAME TOKEN …
fn pairs(words: &[String]) -> Result<Vec<(String, Token)>, Failure> {
    let pair = |pair: &[String]| match pair {
        [name, token] => match token.parse() {
            Ok(token) => Ok((name.clone(), Token(token))),
            Err(_) => Err(Failure::usage(format!("TOKEN: {token:?} is not a number, as acquire printed it"))),
        },
        alone => Err(Failure::usage(format!("TOKEN: {:?} has none; say NAME TOKEN for each lock", alone.join(" ")))),
    };
    words.chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_and_tokens_come_in_pairs() {
        let words = |words: &[&str]| pairs(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(words(&["a", "1", "b", "2"]).unwrap(), [("a".to_owned(), Token(1)), ("b".to_owned(), Token(2))]);
        assert!(words(&["a", "1", "b"]).unwrap_err().message.contains("\"b\" has none"));
        assert!(words(&["a", "b"]).unwrap_err().message.contains("\"b\" is not a number"));
    }
}
