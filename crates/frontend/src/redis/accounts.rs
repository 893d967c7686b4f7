//! Who a client is, by its password.

use std::sync::Arc;

use subtle::{Choice, ConstantTimeEq};

use super::options::{PASSWORD_BYTES_MAX, USER_DEFAULT};
use crate::RedisOptions;

/// Whom a connection acts for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) user: String,
    pub(super) namespace: String,
}

impl Account {
    /// Of a connection that has not said who it is: it can do nothing but that.
    pub(super) fn nobody() -> Self {
        Self { user: String::new(), namespace: String::new() }
    }
}

/// All there are.
pub(super) struct Accounts {
    /// Of whoever comes, where there are no passwords.
    open: Option<Arc<Account>>,
    known: Vec<(Secret, Arc<Account>)>,
}

/// A password in a form in which all are alike: comparing two takes the same time wherever they differ.
struct Secret {
    bytes: [u8; PASSWORD_BYTES_MAX],
    length: u64,
}

impl Secret {
    /// None: longer than any password is.
    fn new(password: &[u8]) -> Option<Self> {
        let mut bytes = [0; PASSWORD_BYTES_MAX];
        bytes.get_mut(..password.len())?.copy_from_slice(password);
        Some(Self { bytes, length: password.len() as u64 })
    }

    fn is(&self, other: &Self) -> Choice {
        self.bytes.ct_eq(&other.bytes) & self.length.ct_eq(&other.length)
    }
}

impl Accounts {
    pub(super) fn new(options: &RedisOptions) -> Self {
        let account =
            |user: &str, namespace: &str| Arc::new(Account { user: user.into(), namespace: namespace.into() });
        let open = options.passwords.is_empty().then(|| account(USER_DEFAULT, &options.namespace));
        let known = options.passwords.iter().filter_map(|one| {
            let namespace = one.namespace.as_ref().unwrap_or(&options.namespace);
            Some((Secret::new(one.password.as_bytes())?, account(one.user(), namespace)))
        });
        Self { open, known: known.collect() }
    }

    /// Whom a connection acts for that has not said who it is.
    pub(super) fn open(&self) -> Option<Arc<Account>> {
        self.open.clone()
    }

    /// Whom these let in. Takes the same time for every password.
    pub(super) fn find(&self, user: &[u8], password: &[u8]) -> Option<Arc<Account>> {
        if self.open.is_some() {
            // Redis' default user takes any password where none is set.
            return self.open().filter(|account| account.user.as_bytes() == user);
        }
        let given = Secret::new(password)?;
        let mut found = None;
        for (secret, account) in &self.known {
            let user_is = Choice::from(u8::from(account.user.as_bytes() == user));
            if bool::from(secret.is(&given) & user_is) {
                found = Some(Arc::clone(account));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RedisPassword;

    fn accounts(passwords: &[(&str, Option<&str>, Option<&str>)]) -> Accounts {
        let password = |(password, user, namespace): &(&str, Option<&str>, Option<&str>)| RedisPassword {
            password: (*password).into(),
            user: user.map(Into::into),
            namespace: namespace.map(Into::into),
        };
        let passwords = passwords.iter().map(password).collect();
        Accounts::new(&RedisOptions { namespace: "all".into(), passwords, ..RedisOptions::default() })
    }

    fn namespace(accounts: &Accounts, user: &str, password: &str) -> Option<String> {
        accounts.find(user.as_bytes(), password.as_bytes()).map(|account| account.namespace.clone())
    }

    #[test]
    fn a_password_leads_to_its_users_namespace() {
        let accounts = accounts(&[("one", None, None), ("two", None, Some("b")), ("two", Some("ann"), Some("c"))]);
        assert_eq!(accounts.open(), None);
        assert_eq!(namespace(&accounts, "default", "one").as_deref(), Some("all"));
        assert_eq!(namespace(&accounts, "default", "two").as_deref(), Some("b"));
        assert_eq!(namespace(&accounts, "ann", "two").as_deref(), Some("c"));
        for (user, password) in
            [("ann", "one"), ("default", "on"), ("default", "one\0"), ("default", ""), ("bob", "two")]
        {
            assert_eq!(namespace(&accounts, user, password), None, "{user} {password:?}");
        }
        assert_eq!(namespace(&accounts, "default", &"x".repeat(PASSWORD_BYTES_MAX + 1)), None);
    }

    #[test]
    fn without_passwords_everybody_is_the_default_user() {
        let accounts = accounts(&[]);
        assert_eq!(accounts.open().unwrap().namespace, "all");
        assert_eq!(namespace(&accounts, "default", "whatever").as_deref(), Some("all"));
        assert_eq!(namespace(&accounts, "ann", "whatever"), None);
    }
}
