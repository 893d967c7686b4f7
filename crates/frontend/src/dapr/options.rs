//! What the Dapr door is started with: stores, tokens, listeners.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use leasehold_state_machine::NAMESPACE_BYTES_MAX;

/// Stores of a node.
const STORES_MAX: usize = 64;
/// Tokens that are accepted at once: each call is compared with all of them.
const TOKENS_MAX: usize = 1_024;
/// Listeners of a node beside the client port and the HTTP port.
const LISTENERS_MAX: usize = 64;
/// Length of a store's name, an app-id or a prefix, in bytes.
pub(crate) const PART_BYTES_MAX: usize = 128;
/// Length of a token, in bytes.
const TOKEN_BYTES_MAX: usize = 4_096;
/// What stands between the parts of a lock's name. No part may have it, nor a piece of it: else two stores or two apps could
/// mean the same lock without being told so.
pub(crate) const SEPARATOR: &str = "||";

/// What callers of Dapr's lock API find on this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DaprOptions {
    /// Without one every call fails as it does at a sidecar without lock component.
    pub stores: Vec<DaprStore>,
    /// Without one no token is asked for.
    pub tokens: Vec<DaprToken>,
    /// Ports for Dapr alone, beside those that serve everything.
    pub listeners: Vec<DaprListener>,
}

/// A name that callers know, and which locks it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaprStore {
    /// `store_name` of a call.
    pub name: String,
    /// Where the locks are.
    pub namespace: String,
    /// How a resource becomes the name of a lock.
    pub key_prefix: KeyPrefix,
    /// Who says which application calls.
    pub app_id_from: AppIdFrom,
    /// The application, where that is fixed; else the one of callers for whom nothing is said.
    pub app_id: Option<String>,
}

/// What a lock's name has between `lock||` and the resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KeyPrefix {
    /// The application: `lock||orders||resource`. No two applications share a lock.
    #[default]
    AppId,
    /// The store's name.
    Name,
    /// Nothing: `lock||resource`.
    None,
    /// This text.
    Text(String),
}

/// Who says which application calls: no SDK does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AppIdFrom {
    /// The token that the call brings.
    Token,
    /// The listener that it comes in by.
    Listener,
    /// The header, or gRPC metadata, `dapr-app-id`: the caller's own word.
    #[default]
    Header,
    /// The store's `app-id`.
    Fixed,
}

/// A value of `dapr-api-token` that is accepted.
#[derive(Clone, PartialEq, Eq)]
pub struct DaprToken {
    /// The secret.
    pub token: String,
    /// The application that uses it.
    pub app_id: Option<String>,
}

/// Ports that serve nothing but Dapr's API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DaprListener {
    /// HOST:PORT of gRPC.
    pub grpc: Option<String>,
    /// HOST:PORT of HTTP.
    pub http: Option<String>,
    /// The application that connects there.
    pub app_id: Option<String>,
}

/// An option of the Dapr door that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct DaprOptionsError {
    /// Name of the option, for example `dapr.stores[0].name`.
    pub field: String,
    /// What is wrong, with the limit.
    pub problem: String,
}

impl fmt::Debug for DaprToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DaprToken").field("app_id", &self.app_id).finish_non_exhaustive()
    }
}

impl From<String> for KeyPrefix {
    fn from(text: String) -> Self {
        match text.as_str() {
            "appid" => Self::AppId,
            "name" => Self::Name,
            "none" => Self::None,
            _ => Self::Text(text),
        }
    }
}

impl FromStr for AppIdFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "token" => Ok(Self::Token),
            "listener" => Ok(Self::Listener),
            "header" => Ok(Self::Header),
            "fixed" => Ok(Self::Fixed),
            _ => Err(format!("{text:?} is none of token, listener, header, fixed")),
        }
    }
}

impl fmt::Display for AppIdFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "token",
            Self::Listener => "listener",
            Self::Header => "header",
            Self::Fixed => "fixed",
        })
    }
}

impl DaprStore {
    /// A store for trying things out: the namespace `default`, apart by the application that the caller names, or `default`.
    #[must_use]
    pub fn open_to_all(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            namespace: "default".into(),
            key_prefix: KeyPrefix::AppId,
            app_id_from: AppIdFrom::Header,
            app_id: Some("default".into()),
        }
    }
}

impl DaprOptionsError {
    /// An option, and what is wrong with it.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

/// A store's name, an app-id, or a prefix: what a lock's name is made of.
pub(crate) fn check_part(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("must not be empty".into());
    }
    if text.len() > PART_BYTES_MAX {
        return Err(format!("is {} bytes long, at most {PART_BYTES_MAX} are allowed", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err("must not contain control characters".into());
    }
    if text.contains('|') {
        return Err(format!("must not contain |: {SEPARATOR} stands between the parts of a lock's name"));
    }
    Ok(())
}

impl DaprOptions {
    /// Checks the options.
    pub fn validate(&self) -> Result<(), DaprOptionsError> {
        for (field, count, max) in [
            ("dapr.stores", self.stores.len(), STORES_MAX),
            ("dapr.tokens", self.tokens.len(), TOKENS_MAX),
            ("dapr.listeners", self.listeners.len(), LISTENERS_MAX),
        ] {
            if count > max {
                return Err(DaprOptionsError::new(field, format!("there are {count}, at most {max} are allowed")));
            }
        }
        let mut names = HashSet::new();
        for (i, store) in self.stores.iter().enumerate() {
            self.check_store(&format!("dapr.stores[{i}]"), store)?;
            if !names.insert(store.name.as_str()) {
                let problem = format!("{:?} is the name of an earlier store", store.name);
                return Err(DaprOptionsError::new(format!("dapr.stores[{i}].name"), problem));
            }
        }
        let mut tokens = HashSet::new();
        for (i, token) in self.tokens.iter().enumerate() {
            let refuse = |problem: String| Err(DaprOptionsError::new(format!("dapr.tokens[{i}].token"), problem));
            check_app_id(&format!("dapr.tokens[{i}]"), token.app_id.as_ref())?;
            match token.token.len() {
                0 => return refuse("must not be empty".into()),
                long if long > TOKEN_BYTES_MAX => {
                    return refuse(format!("is {long} bytes long, at most {TOKEN_BYTES_MAX} are allowed"));
                }
                _ => {}
            }
            if !token.token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return refuse("must be of visible ASCII characters, as it comes in a header".into());
            }
            if !tokens.insert(token.token.as_str()) {
                return refuse("is an earlier token once more".into());
            }
        }
        for (i, listener) in self.listeners.iter().enumerate() {
            check_app_id(&format!("dapr.listeners[{i}]"), listener.app_id.as_ref())?;
            if listener.grpc.is_none() && listener.http.is_none() {
                let problem = "has neither grpc nor http: give one of them, or both, as HOST:PORT";
                return Err(DaprOptionsError::new(format!("dapr.listeners[{i}]"), problem));
            }
        }
        Ok(())
    }

    fn check_store(&self, field: &str, store: &DaprStore) -> Result<(), DaprOptionsError> {
        let refuse = |name: &str, problem: String| Err(DaprOptionsError::new(format!("{field}.{name}"), problem));
        if let Err(problem) = check_part(&store.name) {
            return refuse("name", problem);
        }
        let namespace = &store.namespace;
        if namespace.is_empty() || namespace.len() > NAMESPACE_BYTES_MAX || namespace.chars().any(char::is_control) {
            let problem = format!("must have 1 to {NAMESPACE_BYTES_MAX} bytes, and no control characters");
            return refuse("namespace", problem);
        }
        if let KeyPrefix::Text(text) = &store.key_prefix
            && let Err(problem) = check_part(text)
        {
            return refuse("key-prefix", problem);
        }
        check_app_id(field, store.app_id.as_ref())?;
        let named = match store.app_id_from {
            AppIdFrom::Header => true,
            AppIdFrom::Fixed => store.app_id.is_some(),
            AppIdFrom::Token => store.app_id.is_some() || self.tokens.iter().any(|token| token.app_id.is_some()),
            AppIdFrom::Listener => {
                store.app_id.is_some() || self.listeners.iter().any(|listener| listener.app_id.is_some())
            }
        };
        if named || store.key_prefix != KeyPrefix::AppId {
            return Ok(());
        }
        match store.app_id_from {
            AppIdFrom::Fixed | AppIdFrom::Header => {
                refuse("app-id", "is required where app-id-from is \"fixed\"".into())
            }
            from => {
                let problem = format!("is \"{from}\", and no {from} has an app-id: no call could take a lock");
                refuse("app-id-from", problem)
            }
        }
    }
}

fn check_app_id(field: &str, app_id: Option<&String>) -> Result<(), DaprOptionsError> {
    let checked = app_id.map_or(Ok(()), |app_id| check_part(app_id));
    checked.map_err(|problem| DaprOptionsError::new(format!("{field}.app-id"), problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(options: DaprOptions) -> String {
        options.validate().unwrap_err().to_string()
    }

    fn with_store(change: impl FnOnce(&mut DaprStore)) -> DaprOptions {
        let mut store = DaprStore::open_to_all("lockstore");
        change(&mut store);
        DaprOptions { stores: vec![store], ..DaprOptions::default() }
    }

    fn token(token: &str) -> DaprToken {
        DaprToken { token: token.into(), app_id: None }
    }

    #[test]
    fn what_is_wrong_names_its_field() {
        assert_eq!(with_store(|_| ()).validate(), Ok(()));
        let long = "x".repeat(PART_BYTES_MAX + 1);
        assert!(refused(with_store(|store| store.name = String::new())).starts_with("dapr.stores[0].name: "));
        assert!(refused(with_store(|store| store.name = "a|b".into())).starts_with("dapr.stores[0].name: "));
        assert!(refused(with_store(|store| store.namespace = "\n".into())).starts_with("dapr.stores[0].namespace: "));
        let prefix = refused(with_store(|store| store.key_prefix = KeyPrefix::Text(long.clone())));
        assert!(prefix.starts_with("dapr.stores[0].key-prefix: ") && prefix.contains("at most 128"), "{prefix}");
        assert!(refused(with_store(|store| store.app_id = Some(long))).starts_with("dapr.stores[0].app-id: "));
        let twice = vec![DaprStore::open_to_all("a"), DaprStore::open_to_all("a")];
        let twice = DaprOptions { stores: twice, ..DaprOptions::default() };
        assert!(refused(twice).starts_with("dapr.stores[1].name: "));
        for tokens in [vec![token("")], vec![token("a b")], vec![token(&"x".repeat(5_000))]] {
            let tokens = DaprOptions { tokens, ..DaprOptions::default() };
            assert!(refused(tokens).starts_with("dapr.tokens[0].token: "));
        }
        let twice = DaprOptions { tokens: vec![token("a"), token("a")], ..DaprOptions::default() };
        assert!(refused(twice).starts_with("dapr.tokens[1].token: "));
        let deaf = DaprOptions { listeners: vec![DaprListener::default()], ..DaprOptions::default() };
        assert!(refused(deaf).starts_with("dapr.listeners[0]: "));
    }

    #[test]
    fn a_store_whose_calls_could_never_name_an_app_is_refused() {
        let without = |from| with_store(|store| (store.app_id_from, store.app_id) = (from, None));
        assert!(refused(without(AppIdFrom::Fixed)).starts_with("dapr.stores[0].app-id: "));
        assert!(refused(without(AppIdFrom::Token)).starts_with("dapr.stores[0].app-id-from: "));
        assert!(refused(without(AppIdFrom::Listener)).starts_with("dapr.stores[0].app-id-from: "));
        assert_eq!(without(AppIdFrom::Header).validate(), Ok(()));
        let mut by_token = without(AppIdFrom::Token);
        by_token.tokens = vec![DaprToken { token: "secret".into(), app_id: Some("orders".into()) }];
        assert_eq!(by_token.validate(), Ok(()));
        let unscoped = with_store(|store| {
            (store.app_id_from, store.app_id, store.key_prefix) = (AppIdFrom::Token, None, KeyPrefix::None);
        });
        assert_eq!(unscoped.validate(), Ok(()));
    }

    #[test]
    fn a_token_is_not_shown() {
        let options = DaprOptions { tokens: vec![token("hush")], ..DaprOptions::default() };
        assert!(!format!("{options:?}").contains("hush"));
    }
}
