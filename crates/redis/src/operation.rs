//! What commands over keys say, before any key is looked at. Plain commands and those that scripts call are the same here.

use bytes::Bytes;

use crate::{
    request::canonical_integer,
    text::{lower, shown},
};

/// Longest time from now that is taken, in milliseconds: a point in time behind it would not fit 64 bits.
const TIME_MS_MAX: i64 = i64::MAX - (1 << 42);

const SECOND_MS: i64 = 1000;

/// A command over keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) operation: Operation,
    /// As they were named, with repeats.
    pub(crate) keys: Vec<Bytes>,
}

/// What is done with the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    Get,
    Mget,
    GetRange {
        start: i64,
        end: i64,
    },
    Strlen,
    Exists,
    /// `TTL`, or `PTTL` in milliseconds.
    TimeLeft {
        in_ms: bool,
    },
    Set {
        value: Bytes,
        condition: SetCondition,
        ttl_ms: Option<u64>,
    },
    Setnx(Bytes),
    /// One value for each key.
    Mset {
        values: Vec<Bytes>,
        only_if_all_absent: bool,
    },
    /// `DEL` and `UNLINK`.
    Delete,
    /// `EXPIRE` and `PEXPIRE`.
    Expire {
        ms: i64,
        condition: ExpireCondition,
    },
}

/// `NX` or `XX` of `SET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetCondition {
    Always,
    IfAbsent,
    IfPresent,
}

/// `NX`, `XX`, `GT` and `LT` of `EXPIRE`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ExpireCondition {
    pub(crate) without_ttl: bool,
    pub(crate) with_ttl: bool,
    pub(crate) longer: bool,
    pub(crate) shorter: bool,
}

/// What is wrong with the words of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// Redis would refuse it too, with this text after `ERR`.
    Wrong(String),
    /// Redis would carry it out; here it is refused.
    Unsupported(String),
}

impl Problem {
    fn wrong(text: &str) -> Self {
        Self::Wrong(text.into())
    }

    /// The text of the error reply.
    pub(crate) fn into_message(self) -> String {
        match self {
            Self::Wrong(text) | Self::Unsupported(text) => format!("ERR {text}"),
        }
    }
}

/// A number among the words of a command.
pub(crate) fn integer(word: &[u8]) -> Result<i64, Problem> {
    canonical_integer(word).ok_or_else(|| Problem::wrong("value is not an integer or out of range"))
}

impl Call {
    /// Understands the arguments of the command `name`, which are as many as its entry in the table of commands says.
    pub(crate) fn parse(name: &str, args: &[Bytes]) -> Result<Self, Problem> {
        let too_few = || Problem::Wrong(format!("wrong number of arguments for '{name}' command"));
        let (first, rest) = args.split_first().ok_or_else(too_few)?;
        let of_first = |operation| Ok(Self { operation, keys: vec![first.clone()] });
        let of_all = |operation| Ok(Self { operation, keys: args.to_vec() });
        match (name, rest) {
            ("get", _) => of_first(Operation::Get),
            ("strlen", _) => of_first(Operation::Strlen),
            ("ttl", _) => of_first(Operation::TimeLeft { in_ms: false }),
            ("pttl", _) => of_first(Operation::TimeLeft { in_ms: true }),
            ("getrange" | "substr", [start, end]) => {
                of_first(Operation::GetRange { start: integer(start)?, end: integer(end)? })
            }
            ("mget", _) => of_all(Operation::Mget),
            ("exists", _) => of_all(Operation::Exists),
            ("del" | "unlink", _) => of_all(Operation::Delete),
            ("setnx", [value]) => of_first(Operation::Setnx(value.clone())),
            ("set", [value, options @ ..]) => of_first(set(value, options)?),
            ("mset" | "msetnx", _) if args.len().is_multiple_of(2) => {
                let (keys, values) = args.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).unzip();
                Ok(Self { operation: Operation::Mset { values, only_if_all_absent: name == "msetnx" }, keys })
            }
            ("expire" | "pexpire", [time, options @ ..]) => of_first(expire(name, time, options)?),
            _ => Err(too_few()),
        }
    }
}

fn set(value: &Bytes, mut options: &[Bytes]) -> Result<Operation, Problem> {
    let syntax_error = || Problem::wrong("syntax error");
    let mut condition = SetCondition::Always;
    let mut time: Option<(&Bytes, i64)> = None;
    while let Some((option, rest)) = options.split_first() {
        options = rest;
        match (lower(option).as_str(), condition, time) {
            ("nx", SetCondition::Always | SetCondition::IfAbsent, _) => condition = SetCondition::IfAbsent,
            ("xx", SetCondition::Always | SetCondition::IfPresent, _) => condition = SetCondition::IfPresent,
            ("ex", _, None | Some((_, SECOND_MS))) => {
                let (number, rest) = rest.split_first().ok_or_else(syntax_error)?;
                (time, options) = (Some((number, SECOND_MS)), rest);
            }
            ("px", _, None | Some((_, 1))) => {
                let (number, rest) = rest.split_first().ok_or_else(syntax_error)?;
                (time, options) = (Some((number, 1)), rest);
            }
            (name @ ("exat" | "pxat" | "keepttl" | "get" | "ifeq" | "ifne" | "ifdeq" | "ifdne"), _, _) => {
                let name = name.to_ascii_uppercase();
                return Err(Problem::Unsupported(format!(
                    "the option {name} of SET is not supported: NX, XX, EX and PX are"
                )));
            }
            _ => return Err(syntax_error()),
        }
    }
    let ttl_ms = match time {
        None => None,
        Some((number, unit_ms)) => {
            let ms = time_ms("set", integer(number)?, unit_ms)?;
            let positive = u64::try_from(ms).ok().filter(|ms| *ms > 0);
            Some(positive.ok_or_else(|| invalid_time("set"))?)
        }
    };
    Ok(Operation::Set { value: value.clone(), condition, ttl_ms })
}

fn expire(name: &str, time: &[u8], options: &[Bytes]) -> Result<Operation, Problem> {
    let mut condition = ExpireCondition::default();
    for option in options {
        match lower(option).as_str() {
            "nx" => condition.without_ttl = true,
            "xx" => condition.with_ttl = true,
            "gt" => condition.longer = true,
            "lt" => condition.shorter = true,
            _ => return Err(Problem::Wrong(format!("Unsupported option {}", shown(option)))),
        }
    }
    if condition.without_ttl && (condition.with_ttl || condition.longer || condition.shorter) {
        return Err(Problem::wrong("NX and XX, GT or LT options at the same time are not compatible"));
    }
    if condition.longer && condition.shorter {
        return Err(Problem::wrong("GT and LT options at the same time are not compatible"));
    }
    let unit_ms = if name == "expire" { SECOND_MS } else { 1 };
    Ok(Operation::Expire { ms: time_ms(name, integer(time)?, unit_ms)?, condition })
}

fn time_ms(name: &str, number: i64, unit_ms: i64) -> Result<i64, Problem> {
    let in_range = |ms: &i64| (-TIME_MS_MAX..=TIME_MS_MAX).contains(ms);
    number.checked_mul(unit_ms).filter(in_range).ok_or_else(|| invalid_time(name))
}

fn invalid_time(name: &str) -> Problem {
    Problem::Wrong(format!("invalid expire time in '{name}' command"))
}
