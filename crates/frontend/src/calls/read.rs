//! Reads: linearizable unless the caller asks for less.

use leasehold_proto::v1;
use leasehold_state_machine::{LockView, StateMachine};
use prost::Message;

use super::{CallTime, Calls};
use crate::{CallError, convert, validate};

/// A page ends early once it is this long.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// Locks that are read under one hold of the state: apply waits meanwhile.
const CHUNK: usize = 64;

impl Calls {
    /// One lock.
    pub(crate) async fn get(&self, message: v1::GetRequest, time: CallTime) -> Result<v1::GetResponse, CallError> {
        let namespace = validate::namespace(message.namespace)?;
        validate::lock_name("name", &message.name, &self.limits(&namespace))?;
        self.ready_to_read(message.stale, time).await?;
        let state = self.node.state();
        let view = state.lock(&namespace, &message.name);
        let revision = revision(&state);
        drop(state);
        let free = || LockView { namespace, name: message.name, holders: vec![], waiters: vec![], last_lost: None };
        Ok(v1::GetResponse { lock: Some(convert::lock(view.unwrap_or_else(free), revision)) })
    }

    /// A page of the locks of a namespace.
    pub(crate) async fn list(&self, message: v1::ListRequest, time: CallTime) -> Result<v1::ListResponse, CallError> {
        let namespace = validate::namespace(message.namespace)?;
        validate::prefix(&message.prefix, &self.limits(&namespace))?;
        let size = validate::page_size(message.page_size)?;
        let mut after = page_start(&message.page_token)?;
        self.ready_to_read(message.stale, time).await?;
        let mut locks: Vec<v1::LockInfo> = Vec::new();
        let mut bytes = 0;
        loop {
            let wanted = CHUNK.min(size - locks.len());
            let (views, revision) = {
                let state = self.node.state();
                // One more than wanted tells whether a page follows.
                (state.locks(&namespace, &message.prefix, after.as_deref(), wanted + 1), revision(&state))
            };
            let more = views.len() > wanted;
            for view in views.into_iter().take(wanted) {
                let lock = convert::lock(view, revision);
                bytes += lock.encoded_len();
                locks.push(lock);
                if bytes >= PAGE_BYTES_MAX {
                    break;
                }
            }
            after = locks.last().map(|lock| lock.name.clone());
            if !more && bytes < PAGE_BYTES_MAX {
                return Ok(v1::ListResponse { locks, next_page_token: String::new() });
            }
            if locks.len() >= size || bytes >= PAGE_BYTES_MAX {
                let next_page_token = after.as_deref().map(page_token).unwrap_or_default();
                return Ok(v1::ListResponse { locks, next_page_token });
            }
            tokio::task::consume_budget().await;
        }
    }

    async fn ready_to_read(&self, stale: bool, time: CallTime) -> Result<(), CallError> {
        if stale {
            return Ok(());
        }
        self.open()?;
        Ok(self.node.read_barrier(time.deadline()).await?)
    }
}

fn revision(state: &StateMachine) -> u64 {
    state.applied().map_or(0, |entry| entry.index)
}

/// A page token is the last name of the page before, in hexadecimal behind a version digit: opaque, and safe in any header.
fn page_token(last: &str) -> String {
    use std::fmt::Write;
    let mut token = String::with_capacity(1 + 2 * last.len());
    token.push('1');
    for byte in last.bytes() {
        // Writing to a String cannot fail.
        let _always = write!(token, "{byte:02x}");
    }
    token
}

fn page_start(token: &str) -> Result<Option<String>, CallError> {
    if token.is_empty() {
        return Ok(None);
    }
    let bad = || CallError::invalid("page_token", "is not a token of a previous page");
    let digits = token.strip_prefix('1').ok_or_else(bad)?;
    if digits.len() % 2 != 0 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(bad());
    }
    let bytes: Option<Vec<u8>> = (0..digits.len())
        .step_by(2)
        .map(|i| digits.get(i..i + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect();
    String::from_utf8(bytes.ok_or_else(bad)?).map(Some).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_tokens_lead_back_to_their_name() {
        for name in ["a", "ä/ö", "x y", ""] {
            assert_eq!(page_start(&page_token(name)).unwrap().as_deref(), Some(name));
        }
        assert_eq!(page_start("").unwrap(), None);
    }

    #[test]
    fn foreign_page_tokens_are_refused() {
        for bad in ["x", "1zz", "2", "0061", "1ff", "161f1", "1+1", "1é1"] {
            let refused = matches!(page_start(bad), Err(CallError::Invalid { field, .. }) if field == "page_token");
            assert!(refused, "{bad}");
        }
    }
}
