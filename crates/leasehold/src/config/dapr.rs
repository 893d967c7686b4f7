//! The table `[dapr]` of the config file: what clients of Dapr find on this node.

use std::path::PathBuf;

use leasehold_frontend::{DaprListener, DaprOptions, DaprOptionsError, DaprStore, DaprToken, KeyPrefix};
use serde::Deserialize;

use super::{ConfigError, check_address};

/// The store that `dev` and `demo` have ready.
pub(crate) const STORE_READY: &str = "lockstore";
/// Namespace of stores that name none.
const NAMESPACE_DEFAULT: &str = "default";

/// The table.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct FileDapr {
    #[serde(default)]
    stores: Vec<FileStore>,
    #[serde(default)]
    tokens: Vec<FileToken>,
    #[serde(default)]
    listeners: Vec<FileListener>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileStore {
    name: String,
    namespace: Option<String>,
    key_prefix: Option<String>,
    app_id_from: Option<String>,
    app_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileToken {
    token: Option<String>,
    token_file: Option<PathBuf>,
    app_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileListener {
    grpc: Option<String>,
    http: Option<String>,
    app_id: Option<String>,
}

impl std::fmt::Debug for FileToken {
    /// The token itself is nobody's business.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileToken").field("app_id", &self.app_id).finish_non_exhaustive()
    }
}

impl From<DaprOptionsError> for ConfigError {
    fn from(error: DaprOptionsError) -> Self {
        Self::new(error.field, error.problem)
    }
}

impl FileDapr {
    /// Reads the files that it names, adds a store that a flag asks for, and checks the result.
    pub(super) fn resolve(self, store: Option<String>) -> Result<DaprOptions, ConfigError> {
        let mut stores = Vec::with_capacity(self.stores.len() + 1);
        for (i, file) in self.stores.into_iter().enumerate() {
            stores.push(file.resolve(i)?);
        }
        stores.extend(store.map(DaprStore::open_to_all));
        let mut tokens = Vec::with_capacity(self.tokens.len());
        for (i, token) in self.tokens.into_iter().enumerate() {
            tokens.push(token.resolve(i)?);
        }
        let mut listeners = Vec::with_capacity(self.listeners.len());
        for (i, listener) in self.listeners.into_iter().enumerate() {
            let FileListener { grpc, http, app_id } = listener;
            for (field, address) in [("grpc", &grpc), ("http", &http)] {
                if let Some(address) = address {
                    check_address(&format!("dapr.listeners[{i}].{field}"), address)?;
                }
            }
            listeners.push(DaprListener { grpc, http, app_id });
        }
        let options = DaprOptions { stores, tokens, listeners };
        options.validate()?;
        Ok(options)
    }
}

impl FileStore {
    fn resolve(self, i: usize) -> Result<DaprStore, ConfigError> {
        let from = self.app_id_from.map(|text| text.parse()).transpose();
        Ok(DaprStore {
            name: self.name,
            namespace: self.namespace.unwrap_or_else(|| NAMESPACE_DEFAULT.into()),
            key_prefix: self.key_prefix.map_or_else(KeyPrefix::default, KeyPrefix::from),
            app_id_from: from
                .map_err(|problem| ConfigError::new(format!("dapr.stores[{i}].app-id-from"), problem))?
                .unwrap_or_default(),
            app_id: self.app_id,
        })
    }
}

impl FileToken {
    fn resolve(self, i: usize) -> Result<DaprToken, ConfigError> {
        let refuse = |name: &str, problem: String| ConfigError::new(format!("dapr.tokens[{i}].{name}"), problem);
        let token = match (self.token, self.token_file) {
            (Some(token), None) => token,
            (None, Some(path)) => {
                let text = std::fs::read_to_string(&path);
                let text =
                    text.map_err(|error| refuse("token-file", format!("{} cannot be read: {error}", path.display())))?;
                // Editors end files with a new line.
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
            (None, None) => return Err(refuse("token", "or token-file is required".into())),
            (Some(_), Some(_)) => return Err(refuse("token", "must be left out where there is a token-file".into())),
        };
        Ok(DaprToken { token, app_id: self.app_id })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use leasehold_frontend::AppIdFrom;

    use super::*;

    fn options(text: &str) -> Result<DaprOptions, String> {
        let file: FileDapr = toml::from_str(text).map_err(|error| error.to_string())?;
        file.resolve(None).map_err(|error| error.to_string())
    }

    #[test]
    fn the_table_says_what_callers_find() {
        let mut secret = tempfile::NamedTempFile::new().unwrap();
        writeln!(secret, "hush").unwrap();
        let text = format!(
            "[[stores]]\nname = 'a'\n[[stores]]\nname = 'b'\nnamespace = 'n'\nkey-prefix = 'shared'\n\
             app-id-from = 'token'\n[[tokens]]\ntoken = 't'\napp-id = 'orders'\n[[tokens]]\ntoken-file = '{}'\n\
             [[listeners]]\ngrpc = '127.0.0.1:0'\napp-id = 'billing'\n",
            secret.path().display()
        );
        let options = options(&text).unwrap();
        assert_eq!(options.stores[0].namespace, "default");
        assert_eq!(
            (&options.stores[0].key_prefix, options.stores[0].app_id_from),
            (&KeyPrefix::AppId, AppIdFrom::Header)
        );
        assert_eq!(options.stores[1].key_prefix, KeyPrefix::Text("shared".into()));
        assert_eq!((options.tokens[0].app_id.as_deref(), options.tokens[1].token.as_str()), (Some("orders"), "hush"));
        assert_eq!(options.listeners[0].app_id.as_deref(), Some("billing"));
    }

    #[test]
    fn what_cannot_be_names_its_field() {
        for (text, field) in [
            ("[[stores]]\nname = ''", "dapr.stores[0].name: "),
            ("[[stores]]\nname = 'a'\napp-id-from = 'moon'", "dapr.stores[0].app-id-from: "),
            ("[[tokens]]\napp-id = 'a'", "dapr.tokens[0].token: "),
            ("[[tokens]]\ntoken = 'a'\ntoken-file = 'b'", "dapr.tokens[0].token: "),
            ("[[tokens]]\ntoken-file = '/nonexistent'", "dapr.tokens[0].token-file: /nonexistent "),
            ("[[listeners]]\ngrpc = '1.1.1.1:1'\n[[listeners]]\nhttp = '3500'", "dapr.listeners[1].http: "),
        ] {
            let refused = options(text).unwrap_err();
            assert!(refused.starts_with(field), "{text}: {refused}");
        }
        assert!(options("[[stores]]\nname = 'a'\nkey-prefx = 'b'").unwrap_err().contains("key-prefx"));
    }
}
