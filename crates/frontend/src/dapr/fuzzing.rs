//! What Dapr's door reads.

use super::caller::Caller;
use super::options::SEPARATOR;
use super::{DaprStore, KeyPrefix, body, locks};
use crate::metrics::Door;

/// A body of HTTP: the same message, written as protobuf's JSON is, is read alike.
pub(crate) fn run_bodies(data: &[u8]) -> bool {
    let unlock = body::unlock("store".into(), data);
    if let Ok(message) = &unlock {
        let json = serde_json::json!({ "resourceId": message.resource_id, "lockOwner": message.lock_owner });
        let again = body::unlock("store".into(), json.to_string().as_bytes());
        assert_eq!(again.as_ref().ok(), Some(message));
    }
    let Ok(message) = body::try_lock("store".into(), data) else { return unlock.is_ok() };
    let json = serde_json::json!({
        "resource_id": message.resource_id, "lock_owner": message.lock_owner,
        "expiry_in_seconds": message.expiry_in_seconds.to_string(),
    });
    assert_eq!(body::try_lock("store".into(), json.to_string().as_bytes()).ok(), Some(message));
    true
}

pub(crate) fn seeds_of_bodies() -> Vec<Vec<u8>> {
    let bodies = [
        r#"{"resourceId":"r","lockOwner":"o","expiryInSeconds":15}"#,
        r#"{"resource_id":"r","lock_owner":"o","expiry_in_seconds":"1.5e1","more":{"a":[1,null]},"storeName":"x"}"#,
        r#"{"resourceId":null,"lockOwner":"\u00e9"}"#,
    ];
    bodies.into_iter().map(|body| body.as_bytes().to_vec()).collect()
}

/// An application as its header says it, and a resource: which lock they stand for. Two pairs never stand for one.
pub(crate) fn lock_names(text: &str) -> bool {
    let (app, resource) = text.split_once('\n').unwrap_or(("", text));
    let door = Door::DaprHttp;
    let header_app = Some(app.as_bytes().to_vec());
    let caller = Caller { door, peer: None, token_app: None, listener_app: None, header_app };
    let mut understood = false;
    for key_prefix in [KeyPrefix::AppId, KeyPrefix::Name, KeyPrefix::None, KeyPrefix::from(app.to_owned())] {
        let store = DaprStore { key_prefix, ..DaprStore::open_to_all("locks") };
        let Ok(app) = caller.app_id(&store) else { continue };
        let Ok(name) = locks::lock_name(&store, app.as_deref(), resource) else { continue };
        if store.key_prefix == KeyPrefix::AppId {
            let parts: Vec<&str> = name.split(SEPARATOR).collect();
            assert_eq!(parts.len(), 3, "{name:?}");
            assert_eq!((Some(parts[1]), parts[2]), (app.as_deref(), resource));
        }
        understood = true;
    }
    understood
}
