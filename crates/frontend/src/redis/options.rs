//! What the Redis door is opened with.

use std::fmt;
use std::time::Duration;

use leasehold_state_machine::NAMESPACE_BYTES_MAX;

use crate::FrontendOptionsError;

/// Longest password, in bytes.
pub(super) const PASSWORD_BYTES_MAX: usize = 512;
/// Longest name of a user, in bytes.
const USER_BYTES_MAX: usize = 256;
/// Passwords that there can be.
const PASSWORDS_MAX: usize = 1_024;
/// The user of an `AUTH` that names none.
pub(super) const USER_DEFAULT: &str = "default";

/// How the Redis door treats its clients, and its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisOptions {
    /// Where the locks are of clients that give no password. With passwords nobody gets in without one.
    pub namespace: String,
    /// None: the door is open to whoever reaches the port.
    pub passwords: Vec<RedisPassword>,
    /// A lock without a time to live would outlive a crashed holder for ever.
    pub set_without_ttl: SetWithoutTtl,
    /// `DEL` and its like by a client that may have lost the lock long ago take it from whoever has it now.
    pub del_without_owner_check: DelWithoutOwnerCheck,
    /// Open connections: whoever comes then is told so, and turned away.
    pub connections_max: usize,
    /// A request that has begun must have come whole within this time, or its connection is cut.
    pub request_max: Duration,
    /// A client that takes nothing of its replies for so long is cut.
    pub unread_max: Duration,
    /// Scripts that are remembered by their SHA-1: past it those that were not used for the longest time go.
    pub scripts_max: usize,
    /// Bytes that their bodies have in all.
    pub scripts_bytes_max: usize,
}

/// A password, and whom it lets in where.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisPassword {
    /// The secret.
    pub password: String,
    /// As in `AUTH user password`; None: the user that Redis calls `default`, of an `AUTH password`.
    pub user: Option<String>,
    /// Where the locks are of those who give it; None: as for everybody.
    pub namespace: Option<String>,
}

impl fmt::Debug for RedisPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The password stays out of logs.
        f.debug_struct("RedisPassword").field("user", &self.user).field("namespace", &self.namespace).finish()
    }
}

/// What becomes of a `SET … NX` without a time to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetWithoutTtl {
    /// An error.
    Refuse,
    /// The lock gets this time to live, and the log says so.
    Cap(Duration),
    /// The lock gets the longest time to live that its namespace allows, and the log says so: nothing lasts for ever.
    Allow,
}

/// What becomes of a `DEL`, or of a shortening, of a lock whose owner was not compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DelWithoutOwnerCheck {
    /// An error.
    Refuse,
    /// It is done, and the log says so.
    Allow,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            namespace: "default".into(),
            passwords: Vec::new(),
            set_without_ttl: SetWithoutTtl::Refuse,
            del_without_owner_check: DelWithoutOwnerCheck::Refuse,
            connections_max: 10_000,
            request_max: Duration::from_secs(30),
            unread_max: Duration::from_secs(20),
            scripts_max: 1_024,
            scripts_bytes_max: 4 << 20,
        }
    }
}

impl RedisOptions {
    /// Checks the options.
    pub fn validate(&self) -> Result<(), FrontendOptionsError> {
        namespace("redis.namespace", &self.namespace)?;
        if self.passwords.len() > PASSWORDS_MAX {
            let problem = format!("lists {}, at most {PASSWORDS_MAX} are allowed", self.passwords.len());
            return refuse("redis.passwords", problem);
        }
        for (i, password) in self.passwords.iter().enumerate() {
            password.validate()?;
            let same = |other: &&RedisPassword| other.user() == password.user() && other.password == password.password;
            if self.passwords.iter().take(i).find(same).is_some() {
                return refuse("redis.passwords", format!("user {:?} has the same password twice", password.user()));
            }
        }
        if let SetWithoutTtl::Cap(cap) = self.set_without_ttl
            && cap < Duration::from_millis(1)
        {
            return refuse("redis.set-without-ttl-cap", "must be at least 1 ms".into());
        }
        // More permits than a semaphore has.
        let connections_top = u32::MAX as usize >> 3;
        for (field, value, max) in [
            ("redis.connections-max", self.connections_max, connections_top),
            ("redis.scripts-max", self.scripts_max, usize::MAX),
            ("redis.scripts-bytes-max", self.scripts_bytes_max, usize::MAX),
        ] {
            if !(1..=max).contains(&value) {
                return refuse(field, format!("{value} is not between 1 and {max}"));
            }
        }
        for (field, value) in [("redis.request-max", self.request_max), ("redis.unread-max", self.unread_max)] {
            if value.is_zero() {
                return refuse(field, "must be longer than nothing".into());
            }
        }
        Ok(())
    }
}

impl RedisPassword {
    pub(super) fn user(&self) -> &str {
        self.user.as_deref().unwrap_or(USER_DEFAULT)
    }

    fn validate(&self) -> Result<(), FrontendOptionsError> {
        let length = self.password.len();
        if !(1..=PASSWORD_BYTES_MAX).contains(&length) {
            let problem = format!("is {length} bytes long, between 1 and {PASSWORD_BYTES_MAX} are allowed");
            return refuse("redis.passwords.password", problem);
        }
        if let Some(user) = &self.user {
            text("redis.passwords.user", user, USER_BYTES_MAX)?;
        }
        self.namespace.as_deref().map_or(Ok(()), |name| namespace("redis.passwords.namespace", name))
    }
}

fn namespace(field: &'static str, value: &str) -> Result<(), FrontendOptionsError> {
    text(field, value, NAMESPACE_BYTES_MAX)
}

fn text(field: &'static str, value: &str, bytes_max: usize) -> Result<(), FrontendOptionsError> {
    if !(1..=bytes_max).contains(&value.len()) {
        return refuse(field, format!("is {} bytes long, between 1 and {bytes_max} are allowed", value.len()));
    }
    if value.chars().any(char::is_control) {
        return refuse(field, "must not contain control characters".into());
    }
    Ok(())
}

fn refuse<T>(field: &'static str, problem: String) -> Result<T, FrontendOptionsError> {
    Err(FrontendOptionsError { field, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut RedisOptions)) -> FrontendOptionsError {
        let mut options = RedisOptions::default();
        change(&mut options);
        options.validate().unwrap_err()
    }

    fn password(password: &str) -> RedisPassword {
        RedisPassword { password: password.into(), user: None, namespace: None }
    }

    #[test]
    fn the_defaults_are_valid_and_strict() {
        let options = RedisOptions::default();
        assert_eq!(options.validate(), Ok(()));
        assert_eq!(options.set_without_ttl, SetWithoutTtl::Refuse);
        assert_eq!(options.del_without_owner_check, DelWithoutOwnerCheck::Refuse);
    }

    #[test]
    fn bad_options_are_named() {
        assert_eq!(refused(|o| o.namespace.clear()).field, "redis.namespace");
        assert_eq!(refused(|o| o.connections_max = 0).field, "redis.connections-max");
        assert_eq!(refused(|o| o.connections_max = usize::MAX).field, "redis.connections-max");
        assert_eq!(refused(|o| o.scripts_max = 0).field, "redis.scripts-max");
        assert_eq!(refused(|o| o.request_max = Duration::ZERO).field, "redis.request-max");
        let cap = refused(|o| o.set_without_ttl = SetWithoutTtl::Cap(Duration::ZERO));
        assert_eq!(cap.field, "redis.set-without-ttl-cap");
        assert_eq!(refused(|o| o.passwords.push(password(""))).field, "redis.passwords.password");
        let twice = refused(|o| {
            o.passwords.push(password("a"));
            o.passwords.push(RedisPassword { user: Some("default".into()), ..password("a") });
        });
        assert!(twice.to_string().contains("twice"), "{twice}");
        let nowhere = RedisPassword { namespace: Some("a\nb".into()), ..password("a") };
        assert_eq!(refused(|o| o.passwords.push(nowhere)).field, "redis.passwords.namespace");
    }

    #[test]
    fn passwords_are_not_shown() {
        let shown = format!("{:?}", RedisOptions { passwords: vec![password("sesame")], ..RedisOptions::default() });
        assert!(!shown.contains("sesame"), "{shown}");
    }
}
