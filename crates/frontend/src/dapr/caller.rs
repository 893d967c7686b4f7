//! Who calls: what a call says of itself, and what is known of the way that it came.

use std::net::SocketAddr;
use std::sync::Arc;

use subtle::ConstantTimeEq;

use super::error::Failure;
use super::options::{AppIdFrom, DaprStore, DaprToken, check_part};
use crate::metrics::Door;

/// Header, or gRPC metadata, with the token.
pub(super) const TOKEN_HEADER: &str = "dapr-api-token";
/// Header, or gRPC metadata, with the application.
pub(super) const APP_ID_HEADER: &str = "dapr-app-id";
/// What is answered to a caller without a good token.
pub(super) const UNAUTHENTICATED: &str = "invalid api token";

/// One caller.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(super) door: Door,
    pub(super) peer: Option<SocketAddr>,
    pub(super) token_app: Option<String>,
    pub(super) listener_app: Option<Arc<str>>,
    /// As it came.
    pub(super) header_app: Option<Vec<u8>>,
}

impl Caller {
    /// The application by a store's rule; none when nothing is said.
    pub(super) fn app_id(&self, store: &DaprStore) -> Result<Option<String>, Failure> {
        let from = store.app_id_from;
        let said = match from {
            AppIdFrom::Token => self.token_app.clone(),
            AppIdFrom::Listener => self.listener_app.as_deref().map(str::to_owned),
            AppIdFrom::Header => self.said_app()?,
            AppIdFrom::Fixed => None,
        };
        Ok(said.or_else(|| store.app_id.clone()))
    }

    /// The application in the header: an empty one says nothing.
    pub(super) fn said_app(&self) -> Result<Option<String>, Failure> {
        let bad = |problem: String| Failure::BadAppId { from: AppIdFrom::Header, problem };
        let Some(bytes) = self.header_app.as_ref().filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
        let text = std::str::from_utf8(bytes).map_err(|error| bad(format!("is no UTF-8: {error}")))?;
        check_part(text).map_err(bad)?;
        Ok(Some(text.to_owned()))
    }
}

/// Finds the token that a call brings. How long that takes tells nothing of how near a wrong one is.
pub(super) fn find_token<'a>(tokens: &'a [DaprToken], brought: &[u8]) -> Option<&'a DaprToken> {
    let mut found = None;
    for token in tokens {
        if bool::from(token.token.as_bytes().ct_eq(brought)) {
            found = Some(token);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_whole_or_not_at_all() {
        let token = |token: &str, app: &str| DaprToken { token: token.into(), app_id: Some(app.into()) };
        let tokens = [token("one", "a"), token("other", "b")];
        let app = |brought: &str| find_token(&tokens, brought.as_bytes()).and_then(|token| token.app_id.as_deref());
        assert_eq!((app("one"), app("other")), (Some("a"), Some("b")));
        for wrong in ["", "on", "one ", "onE", "ones"] {
            assert_eq!(app(wrong), None, "{wrong:?}");
        }
    }
}
