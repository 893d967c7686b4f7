//! From words to commands, with the errors of Redis where something is wrong.

use bytes::Bytes;

use super::{
    Command, KeyCommand, ScriptCommand, connection,
    table::{Spec, command_table},
};
use crate::{
    Reply, Request, Sha1,
    operation::{Call, integer},
    request::hex_digit,
    text::{lower, shown},
};

/// Most bytes of arguments that the error about an unknown command repeats.
const REPEATED_BYTES_MAX: usize = 128;

/// Understands a request, or says what is wrong with it, as Redis would.
pub fn parse(request: &Request) -> Result<Command, Reply> {
    let Some((name, args)) = request.words.split_first() else { return Err(Reply::err("empty request")) };
    let spec = Spec::find(name).ok_or_else(|| unknown_command(name, args))?;
    if !spec.takes(request.words.len()) {
        return Err(wrong_arity(spec.name));
    }
    match spec.name {
        "hello" => connection::hello(args).map(Command::Hello),
        "auth" => connection::auth(args),
        "select" => connection::select(args),
        "ping" => match args {
            [] => Ok(Command::Ping(None)),
            [text] => Ok(Command::Ping(Some(text.clone()))),
            _ => Err(wrong_arity("ping")),
        },
        "echo" => Ok(Command::Echo(args[0].clone())),
        "client" => connection::client(args).map(Command::Client),
        "info" => Ok(Command::Info(args.iter().map(|section| lower(section)).collect())),
        "command" => command_table(args).map(Command::CommandTable),
        "quit" => Ok(Command::Quit),
        "reset" => Ok(Command::Reset),
        "script" => script(args).map(Command::Script),
        "eval" => {
            let (keys, args) = keys_and_args(&args[1..])?;
            Ok(Command::Eval { body: request.words[1].clone(), keys, args })
        }
        "evalsha" => {
            // What can be no script's name is no script that is known, whatever is behind it.
            let no_script = || Reply::Error("NOSCRIPT No matching script. Please use EVAL.".into());
            let sha1 = sha1_of_hex(&args[0]).ok_or_else(no_script)?;
            let (keys, args) = keys_and_args(&args[1..])?;
            Ok(Command::EvalSha { sha1, keys, args })
        }
        name => {
            let call = Call::parse(name, args).map_err(|problem| Reply::Error(problem.into_message()))?;
            Ok(Command::Keys(KeyCommand::new(name, call)))
        }
    }
}

/// The error about a number of arguments; `name` is that of a command, or `command|subcommand`.
pub(super) fn wrong_arity(name: &str) -> Reply {
    Reply::err(format_args!("wrong number of arguments for '{name}' command"))
}

/// The error about a subcommand; `of` is the command, in upper case.
pub(super) fn unknown_subcommand(of: &str, name: &[u8]) -> Reply {
    Reply::err(format_args!("unknown subcommand '{}'. Try {of} HELP.", shown(name)))
}

fn unknown_command(name: &[u8], args: &[Bytes]) -> Reply {
    let mut repeated = String::new();
    for arg in args {
        if repeated.len() >= REPEATED_BYTES_MAX {
            break;
        }
        let left = REPEATED_BYTES_MAX - repeated.len();
        repeated.push_str(&format!("'{}' ", shown(&arg[..arg.len().min(left)])));
    }
    Reply::err(format_args!("unknown command '{}', with args beginning with: {repeated}", shown(name)))
}

fn script(args: &[Bytes]) -> Result<ScriptCommand, Reply> {
    let (name, args) = args.split_first().ok_or_else(|| wrong_arity("script"))?;
    match (lower(name).as_str(), args) {
        ("load", [body]) => Ok(ScriptCommand::Load(body.clone())),
        ("exists", [_, ..]) => Ok(ScriptCommand::Exists(args.to_vec())),
        ("flush", []) => Ok(ScriptCommand::Flush),
        ("flush", [how]) if matches!(lower(how).as_str(), "sync" | "async") => Ok(ScriptCommand::Flush),
        ("flush", _) => Err(Reply::err("SCRIPT FLUSH only support SYNC|ASYNC option")),
        ("load", _) => Err(wrong_arity("script|load")),
        ("exists", _) => Err(wrong_arity("script|exists")),
        _ => Err(unknown_subcommand("SCRIPT", name)),
    }
}

/// What comes behind the script: how many keys, the keys, and the rest.
fn keys_and_args(words: &[Bytes]) -> Result<(Vec<Bytes>, Vec<Bytes>), Reply> {
    let (count, words) = words.split_first().ok_or_else(|| wrong_arity("eval"))?;
    let count = integer(count).map_err(|problem| Reply::Error(problem.into_message()))?;
    let count = usize::try_from(count).map_err(|_| Reply::err("Number of keys can't be negative"))?;
    let too_many = || Reply::err("Number of keys can't be greater than number of args");
    let (keys, args) = words.split_at_checked(count).ok_or_else(too_many)?;
    Ok((keys.to_vec(), args.to_vec()))
}

fn sha1_of_hex(text: &[u8]) -> Option<Sha1> {
    let mut bytes = [0; 20];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = hex_digit(digits[0])? * 16 + hex_digit(digits[1])?;
    }
    Some(Sha1(bytes))
}
