//! Commands about the connection itself.

use bytes::Bytes;

use super::{
    ClientCommand, Command, Hello,
    parse::{unknown_subcommand, wrong_arity},
};
use crate::{
    Protocol, Reply,
    operation::integer,
    request::canonical_integer,
    text::{lower, shown},
};

pub(super) fn hello(args: &[Bytes]) -> Result<Hello, Reply> {
    let mut hello = Hello { protocol: None, auth: None, name: None };
    let Some((version, mut rest)) = args.split_first() else { return Ok(hello) };
    let version =
        canonical_integer(version).ok_or_else(|| Reply::err("Protocol version is not an integer or out of range"))?;
    hello.protocol = match version {
        2 => Some(Protocol::Resp2),
        3 => Some(Protocol::Resp3),
        _ => return Err(Reply::Error("NOPROTO unsupported protocol version".into())),
    };
    while let Some((option, values)) = rest.split_first() {
        rest = match (lower(option).as_str(), values) {
            ("auth", [user, password, rest @ ..]) => {
                hello.auth = Some((user.clone(), password.clone()));
                rest
            }
            ("setname", [name, rest @ ..]) => {
                hello.name = Some(checked_name("Client names", name)?);
                rest
            }
            _ => return Err(Reply::err(format_args!("Syntax error in HELLO option '{}'", shown(option)))),
        };
    }
    Ok(hello)
}

pub(super) fn auth(args: &[Bytes]) -> Result<Command, Reply> {
    match args {
        [password] => Ok(Command::Auth { user: None, password: password.clone() }),
        [user, password] => Ok(Command::Auth { user: Some(user.clone()), password: password.clone() }),
        _ => Err(Reply::err("syntax error")),
    }
}

pub(super) fn select(args: &[Bytes]) -> Result<Command, Reply> {
    match integer(&args[0]) {
        Ok(0) => Ok(Command::Select),
        Ok(_) => Err(Reply::err("DB index is out of range")),
        Err(problem) => Err(Reply::Error(problem.into_message())),
    }
}

pub(super) fn client(args: &[Bytes]) -> Result<ClientCommand, Reply> {
    let (subcommand, args) = args.split_first().ok_or_else(|| wrong_arity("client"))?;
    let name = lower(subcommand);
    match (name.as_str(), args) {
        ("setinfo", [attribute, value]) => {
            let attribute = lower(attribute);
            if !matches!(attribute.as_str(), "lib-name" | "lib-ver") {
                return Err(Reply::err(format_args!("Unrecognized option '{attribute}'")));
            }
            let value = checked_name(&attribute, value)?;
            Ok(ClientCommand::SetInfo { attribute, value })
        }
        ("setname", [name]) => checked_name("Client names", name).map(ClientCommand::SetName),
        ("getname", []) => Ok(ClientCommand::GetName),
        ("id", []) => Ok(ClientCommand::Id),
        ("info", []) => Ok(ClientCommand::Info),
        ("setinfo" | "setname" | "getname" | "id" | "info", _) => Err(wrong_arity(&format!("client|{name}"))),
        _ => Err(unknown_subcommand("CLIENT", subcommand)),
    }
}

/// A copy, for it is kept as long as the connection, and what it was read into need not be.
fn checked_name(what: &str, name: &[u8]) -> Result<Bytes, Reply> {
    if !name.iter().all(u8::is_ascii_graphic) {
        return Err(Reply::err(format_args!("{what} cannot contain spaces, newlines or special characters.")));
    }
    if name.len() > ClientCommand::NAME_BYTES_MAX {
        let max = ClientCommand::NAME_BYTES_MAX;
        return Err(Reply::err(format_args!("{what} cannot be longer than {max} bytes")));
    }
    Ok(Bytes::copy_from_slice(name))
}
