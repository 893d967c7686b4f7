//! The `[redis]` table of the config file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use leasehold_frontend::{DelWithoutOwnerCheck, RedisOptions, RedisPassword, SetWithoutTtl};
use serde::Deserialize;

use super::ConfigError;

/// The table. Durations are text: "1h".
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct FileRedis {
    pub(super) listen: Option<String>,
    namespace: Option<String>,
    #[serde(default)]
    passwords: Vec<FilePassword>,
    set_without_ttl: Option<Policy>,
    set_without_ttl_cap: Option<String>,
    del_without_owner_check: Option<Policy>,
    connections_max: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FilePassword {
    password: Option<String>,
    password_file: Option<PathBuf>,
    user: Option<String>,
    namespace: Option<String>,
}

impl std::fmt::Debug for FilePassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The password stays out of logs.
        f.debug_struct("FilePassword").field("user", &self.user).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Policy {
    Refuse,
    Cap,
    Allow,
}

fn refuse<T>(field: &str, problem: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::new(field, problem))
}

impl FileRedis {
    pub(super) fn resolve(self) -> Result<RedisOptions, ConfigError> {
        let default = RedisOptions::default();
        let set_without_ttl = self.set_without_ttl()?;
        let del_without_owner_check = match self.del_without_owner_check {
            None => default.del_without_owner_check,
            Some(Policy::Refuse) => DelWithoutOwnerCheck::Refuse,
            Some(Policy::Allow) => DelWithoutOwnerCheck::Allow,
            Some(Policy::Cap) => {
                let problem = "\"cap\" has no meaning for a deletion: write \"refuse\" or \"allow\"";
                return refuse("redis.del-without-owner-check", problem);
            }
        };
        let options = RedisOptions {
            namespace: self.namespace.unwrap_or(default.namespace),
            passwords: self.passwords.into_iter().map(FilePassword::resolve).collect::<Result<_, _>>()?,
            set_without_ttl,
            del_without_owner_check,
            connections_max: self.connections_max.unwrap_or(default.connections_max),
            ..default
        };
        options.validate().map_err(|error| ConfigError::new(error.field, error.problem))?;
        Ok(options)
    }

    fn set_without_ttl(&self) -> Result<SetWithoutTtl, ConfigError> {
        let field = "redis.set-without-ttl-cap";
        let cap = match &self.set_without_ttl_cap {
            None => None,
            Some(text) => match humantime::parse_duration(text) {
                Ok(cap) => Some(cap),
                Err(error) => return refuse(field, format!("{text:?}: {error}")),
            },
        };
        match (self.set_without_ttl, cap) {
            (Some(Policy::Cap), None) => refuse(
                field,
                "is required where set-without-ttl = \"cap\": the time to live that such a lock gets, like \"1h\"",
            ),
            (Some(Policy::Cap), Some(cap)) if cap < Duration::from_millis(1) => refuse(field, "must be at least 1ms"),
            (Some(Policy::Cap), Some(cap)) => Ok(SetWithoutTtl::Cap(cap)),
            (_, Some(_)) => refuse(field, "belongs to set-without-ttl = \"cap\" only"),
            (None | Some(Policy::Refuse), None) => Ok(SetWithoutTtl::Refuse),
            (Some(Policy::Allow), None) => Ok(SetWithoutTtl::Allow),
        }
    }
}

impl FilePassword {
    fn resolve(self) -> Result<RedisPassword, ConfigError> {
        let password = match (self.password, self.password_file) {
            (Some(password), None) => password,
            (None, Some(path)) => read_password(&path)?,
            (None, None) => return refuse("redis.passwords", "an entry has neither password nor password-file"),
            (Some(_), Some(_)) => return refuse("redis.passwords", "an entry has both password and password-file"),
        };
        Ok(RedisPassword { password, user: self.user, namespace: self.namespace })
    }
}

/// The text of the file, without the line break that editors put at its end.
fn read_password(path: &Path) -> Result<String, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            Ok(text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text)).unwrap_or(&text).to_owned())
        }
        Err(error) => refuse("redis.passwords.password-file", format!("{}: {error}", path.display())),
    }
}
