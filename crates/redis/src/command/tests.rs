use bytes::Bytes;

use super::{ClientCommand, Command, ScriptCommand, parse};
use crate::{Protocol, Reply, Request, sha1};

fn parse_line(line: &str) -> Result<Command, Reply> {
    let words = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    parse(&Request { words })
}

fn understood(line: &str) -> Command {
    parse_line(line).expect("understood")
}

fn error(line: &str) -> String {
    match parse_line(line).expect_err("refused") {
        Reply::Error(text) => text,
        other => panic!("{other:?} is no error"),
    }
}

#[test]
fn hello_chooses_protocol_user_and_name() {
    let Command::Hello(hello) = understood("HELLO 3 SETNAME me AUTH u p") else { panic!("no hello") };
    assert_eq!(hello.protocol, Some(Protocol::Resp3));
    assert_eq!(hello.auth, Some((Bytes::from_static(b"u"), Bytes::from_static(b"p"))));
    assert_eq!(hello.name, Some(Bytes::from_static(b"me")));
    assert!(matches!(understood("hello"), Command::Hello(hello) if hello.protocol.is_none()));
    assert_eq!(error("HELLO 4"), "NOPROTO unsupported protocol version");
    assert_eq!(error("HELLO x"), "ERR Protocol version is not an integer or out of range");
    assert_eq!(error("HELLO 3 AUTH u"), "ERR Syntax error in HELLO option 'AUTH'");
}

#[test]
fn commands_about_the_connection_are_understood_in_any_case() {
    assert_eq!(understood("auth p"), Command::Auth { user: None, password: Bytes::from_static(b"p") });
    assert_eq!(understood("SELECT 0"), Command::Select);
    assert_eq!(error("SELECT 1"), "ERR DB index is out of range");
    assert_eq!(error("SELECT x"), "ERR value is not an integer or out of range");
    assert_eq!(understood("ping hi"), Command::Ping(Some(Bytes::from_static(b"hi"))));
    assert_eq!(error("PING a b"), "ERR wrong number of arguments for 'ping' command");
    assert_eq!(understood("INFO Server"), Command::Info(vec!["server".into()]));
    assert_eq!(understood("client id"), Command::Client(ClientCommand::Id));
    let value = Bytes::from_static(b"redis-py");
    let info = ClientCommand::SetInfo { attribute: "lib-name".into(), value };
    assert_eq!(understood("CLIENT SETINFO LIB-NAME redis-py"), Command::Client(info));
    assert_eq!(error("CLIENT SETNAME"), "ERR wrong number of arguments for 'client|setname' command");
    assert_eq!(
        error("CLIENT MAINT_NOTIFICATIONS ON"),
        "ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP."
    );
    assert!(error(&format!("CLIENT SETNAME {}", "x".repeat(257))).contains("longer than 256 bytes"));
    assert!(error("CLIENT SETNAME a\nb").contains("cannot contain spaces"));
}

#[test]
fn unknown_commands_and_wrong_numbers_of_arguments_are_named_as_redis_names_them() {
    assert_eq!(error("FLUSHALL now x"), "ERR unknown command 'FLUSHALL', with args beginning with: 'now' 'x' ");
    assert_eq!(error("FLUSHALL"), "ERR unknown command 'FLUSHALL', with args beginning with: ");
    assert!(error(&format!("NO {}", "word ".repeat(500))).len() < 300);
    assert_eq!(error("GET"), "ERR wrong number of arguments for 'get' command");
    assert_eq!(error("MSET a 1 b"), "ERR wrong number of arguments for 'mset' command");
    assert_eq!(error("SCRIPT LOAD"), "ERR wrong number of arguments for 'script|load' command");
    assert!(matches!(parse(&Request { words: vec![] }), Err(Reply::Error(_))));
}

#[test]
fn options_and_times_are_checked() {
    assert_eq!(error("SET k v PX"), "ERR syntax error");
    assert_eq!(error("SET k v NX XX"), "ERR syntax error");
    assert_eq!(error("SET k v PX 1 EX 1"), "ERR syntax error");
    assert!(parse_line("SET k v PX 1 PX 2").is_ok());
    assert_eq!(error("EXPIRE k 5 Foo"), "ERR Unsupported option Foo");
    assert_eq!(error("SET k v PX 1.5"), "ERR value is not an integer or out of range");
    assert_eq!(error("SET k v PX 0"), "ERR invalid expire time in 'set' command");
    assert_eq!(error("SET k v EX 9223372036854775807"), "ERR invalid expire time in 'set' command");
    assert_eq!(error("EXPIRE k 9223372036854775807"), "ERR invalid expire time in 'expire' command");
    assert_eq!(error("PEXPIRE k 5 NX GT"), "ERR NX and XX, GT or LT options at the same time are not compatible");
    assert!(error("SET k v GET").contains("the option GET of SET is not supported"));
    assert!(error("SET k v KEEPTTL").contains("KEEPTTL"));
    assert!(matches!(understood("set k v nx px 5"), Command::Keys(_)));
}

#[test]
fn scripts_come_with_keys_and_arguments() {
    let Command::Eval { body, keys, args } = understood("EVAL body 2 a b c") else { panic!("no eval") };
    assert_eq!((body.as_ref(), keys.len(), args.len()), (&b"body"[..], 2, 1));
    assert_eq!(error("EVAL body x"), "ERR value is not an integer or out of range");
    assert_eq!(error("EVAL body -1"), "ERR Number of keys can't be negative");
    assert_eq!(error("EVAL body 2 a"), "ERR Number of keys can't be greater than number of args");
    let name = sha1(b"return 1").to_string();
    let parsed = understood(&format!("EVALSHA {} 0", name.to_uppercase()));
    assert_eq!(parsed, Command::EvalSha { sha1: sha1(b"return 1"), keys: vec![], args: vec![] });
    assert!(error("EVALSHA abc x").starts_with("NOSCRIPT"));
    assert_eq!(understood("SCRIPT FLUSH ASYNC"), Command::Script(ScriptCommand::Flush));
    assert_eq!(error("SCRIPT KILL"), "ERR unknown subcommand 'KILL'. Try SCRIPT HELP.");
}

#[test]
fn the_table_of_commands_is_told() {
    let Command::CommandTable(Reply::Integer(count)) = understood("COMMAND COUNT") else { panic!("no count") };
    let Command::CommandTable(Reply::Array(all)) = understood("COMMAND") else { panic!("no table") };
    assert_eq!(count, i64::try_from(all.len()).expect("few"));
    let Command::CommandTable(Reply::Array(some)) = understood("COMMAND INFO get nothing") else { panic!("no info") };
    assert!(matches!(&some[..], [Reply::Array(entry), Reply::Nil] if entry.len() == 10));
    let Command::CommandTable(Reply::Map(docs)) = understood("COMMAND DOCS set nothing") else { panic!("no docs") };
    assert_eq!(docs.len(), 1);
}

#[test]
fn keys_of_a_command_are_told_once() {
    let Command::Keys(command) = understood("DEL a b a") else { panic!("no command") };
    assert_eq!(command.keys(), [Bytes::from_static(b"a"), Bytes::from_static(b"b")]);
    assert_eq!(understood("UNLINK a").name(), "unlink");
}
