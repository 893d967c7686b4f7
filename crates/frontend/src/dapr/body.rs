//! Bodies of HTTP: the JSON form of the protobuf messages, as its specification has it. Unknown fields are ignored, both
//! spellings of a name are taken, null is the default, and a number may come as text.

use std::fmt;

use leasehold_proto::dapr;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::error::DaprError;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TryLock {
    /// The path says which store, whatever stands here.
    #[serde(alias = "store_name")]
    _store_name: Option<String>,
    #[serde(alias = "resource_id")]
    resource_id: Option<String>,
    #[serde(alias = "lock_owner")]
    lock_owner: Option<String>,
    #[serde(alias = "expiry_in_seconds")]
    expiry_in_seconds: Int32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Unlock {
    #[serde(alias = "store_name")]
    _store_name: Option<String>,
    #[serde(alias = "resource_id")]
    resource_id: Option<String>,
    #[serde(alias = "lock_owner")]
    lock_owner: Option<String>,
}

/// An int32: a number, a number as text, or null.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Int32(i32);

pub(super) fn try_lock(store_name: String, body: &[u8]) -> Result<dapr::TryLockRequest, DaprError> {
    let TryLock { resource_id, lock_owner, expiry_in_seconds, .. } = read(body)?;
    Ok(dapr::TryLockRequest {
        store_name,
        resource_id: resource_id.unwrap_or_default(),
        lock_owner: lock_owner.unwrap_or_default(),
        expiry_in_seconds: expiry_in_seconds.0,
    })
}

pub(super) fn unlock(store_name: String, body: &[u8]) -> Result<dapr::UnlockRequest, DaprError> {
    let Unlock { resource_id, lock_owner, .. } = read(body)?;
    Ok(dapr::UnlockRequest {
        store_name,
        resource_id: resource_id.unwrap_or_default(),
        lock_owner: lock_owner.unwrap_or_default(),
    })
}

/// A message is an object; no body at all is the message of defaults.
fn read<'de, T: Default + Deserialize<'de>>(body: &'de [u8]) -> Result<T, DaprError> {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None if body.is_empty() => return Ok(T::default()),
        Some(b'{') => {}
        // What is derived would take an array for the fields in their order.
        _ => return Err(DaprError::Malformed("is not a JSON object".into())),
    }
    serde_json::from_slice(body).map_err(|error| DaprError::Malformed(error.to_string()))
}

impl<'de> Deserialize<'de> for Int32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Int32Visitor)
    }
}

struct Int32Visitor;

impl Visitor<'_> for Int32Visitor {
    type Value = Int32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of 32 bits")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Int32, E> {
        i32::try_from(value).map(Int32).map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Int32, E> {
        i32::try_from(value).map(Int32).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &self))
    }

    /// 1e1 and 15.0 are whole numbers too.
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Int32, E> {
        if value.fract() != 0.0 || value < f64::from(i32::MIN) || value > f64::from(i32::MAX) {
            return Err(E::invalid_value(de::Unexpected::Float(value), &self));
        }
        #[expect(clippy::cast_possible_truncation, reason = "looked at above")]
        Ok(Int32(value as i32))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Int32, E> {
        let bad = || E::invalid_value(de::Unexpected::Str(value), &self);
        // What JSON reads as a number, and nothing around it.
        if value.bytes().any(|byte| byte.is_ascii_whitespace()) {
            return Err(bad());
        }
        let number: serde_json::Number = serde_json::from_str(value).map_err(|_| bad())?;
        match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => self.visit_i64(whole),
            (None, Some(float)) => self.visit_f64(float),
            (None, None) => Err(bad()),
        }
    }

    fn visit_unit<E: de::Error>(self) -> Result<Int32, E> {
        Ok(Int32::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiry(value: &str) -> Option<i32> {
        let body = format!(r#"{{"resourceId":"r","lockOwner":"o","expiryInSeconds":{value}}}"#);
        let message = try_lock("store".into(), body.as_bytes()).ok()?;
        assert_eq!((message.resource_id.as_str(), message.lock_owner.as_str()), ("r", "o"));
        Some(message.expiry_in_seconds)
    }

    #[test]
    fn numbers_come_in_every_form_that_protobuf_allows() {
        for fifteen in ["15", "\"15\"", "15.0", "1.5e1", "\"1.5e1\"", " 15 "] {
            assert_eq!(expiry(fifteen), Some(15), "{fifteen}");
        }
        assert_eq!((expiry("null"), expiry("-1"), expiry("2147483647")), (Some(0), Some(-1), Some(i32::MAX)));
        for bad in ["1.5", "\"\"", "\" 15\"", "\"x\"", "2147483648", "1e10", "\"2147483648\"", "true", "[15]", "{}"] {
            assert_eq!(expiry(bad), None, "{bad}");
        }
    }

    #[test]
    fn both_spellings_are_taken_and_what_is_unknown_is_not_looked_at() {
        let body =
            br#"{"resource_id":"r","lock_owner":"o","expiry_in_seconds":3,"more":{"a":[1,null]},"storeName":"x"}"#;
        let message = try_lock("store".into(), body).unwrap();
        assert_eq!((message.store_name.as_str(), message.resource_id.as_str()), ("store", "r"));
        assert_eq!((message.lock_owner.as_str(), message.expiry_in_seconds), ("o", 3));
        let empty = unlock("store".into(), b"").unwrap();
        assert_eq!((empty.resource_id.as_str(), empty.lock_owner.as_str()), ("", ""));
        let null = unlock("store".into(), br#"{"resourceId":null,"lockOwner":"o"}"#).unwrap();
        assert_eq!((null.resource_id.as_str(), null.lock_owner.as_str()), ("", "o"));
    }

    #[test]
    fn what_is_no_message_is_malformed() {
        for bad in [
            "{",
            "null",
            "[]",
            "\"x\"",
            "{} x",
            " ",
            r#"{"resourceId":1}"#,
            r#"{"storeName":1}"#,
            r#"{"resourceId":"a","resource_id":"b"}"#,
            "{\"resourceId\":\"\u{1}\"}",
        ] {
            let refused = unlock("store".into(), bad.as_bytes()).unwrap_err();
            assert!(matches!(refused, DaprError::Malformed(_)), "{bad}: {refused}");
        }
        assert!(unlock("store".into(), b"{\"resourceId\":\"\xff\"}").is_err(), "not UTF-8");
    }
}
