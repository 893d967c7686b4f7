//! What calls read besides messages.

use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

use super::{CallTime, pages};
use crate::{CallError, FrontendOptions};

pub(crate) fn page_start(token: &str) -> Result<Option<String>, CallError> {
    pages::start(token)
}

/// A page token that is taken is that of its name.
pub(crate) fn page_token(token: &str) -> bool {
    let Ok(Some(name)) = pages::start(token) else { return false };
    assert_eq!(pages::token(&name), token.to_ascii_lowercase());
    true
}

/// A time-out as gRPC sends it.
pub(crate) fn timeout(text: &str) -> bool {
    let Ok(value) = MetadataValue::<Ascii>::try_from(text) else { return false };
    let mut metadata = MetadataMap::new();
    metadata.insert("grpc-timeout", value);
    let time = CallTime::of_unary(&metadata, &FrontendOptions::default());
    assert!(time.deadline() <= time.wait_deadline());
    time.caller_ends_wait()
}
