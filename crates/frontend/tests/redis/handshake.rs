//! What clients say before they work, and who they are then.

use leasehold_frontend::{RedisOptions, RedisPassword};
use leasehold_state_machine::Occupant;

use crate::resp::{Resp, Value, bulk, ok, start, start_and_connect};

fn password(password: &str, user: Option<&str>, namespace: Option<&str>) -> RedisPassword {
    RedisPassword { password: password.into(), user: user.map(Into::into), namespace: namespace.map(Into::into) }
}

#[tokio::test]
async fn a_client_of_the_old_protocol_finds_what_it_looks_for() {
    let (server, mut client) = start_and_connect().await;
    assert_eq!(client.call("PING").await, Value::Status("PONG".into()));
    assert_eq!(client.call("PING hello").await, bulk("hello"));
    assert_eq!(client.call("ECHO hello").await, bulk("hello"));
    assert_eq!(client.call("SELECT 0").await, ok());
    assert!(client.call("SELECT 1").await.error().starts_with("ERR DB index"));
    assert_eq!(client.call("CLIENT SETINFO LIB-NAME redis-py").await, ok());
    assert_eq!(client.call("CLIENT SETINFO LIB-VER 5.0.0").await, ok());
    assert_eq!(client.call("CLIENT GETNAME").await, Value::Nil);
    assert_eq!(client.call("CLIENT SETNAME worker-7").await, ok());
    assert_eq!(client.call("CLIENT GETNAME").await, bulk("worker-7"));
    let id = client.call("CLIENT ID").await.integer();
    let told = client.call("CLIENT INFO").await.text();
    assert!(told.contains(&format!("id={id} ")) && told.contains("name=worker-7"), "{told}");
    assert!(told.contains("lib-name=redis-py") && told.contains("lib-ver=5.0.0"), "{told}");
    assert!(Resp::to(&server).await.call("CLIENT ID").await.integer() > id);
    assert!(client.call("CLIENT MAINT_NOTIFICATIONS ON").await.error().starts_with("ERR"), "and it goes on");
    assert!(matches!(client.call("COMMAND").await, Value::Array(commands) if commands.len() > 20));
    assert!(client.call("FLUSHALL").await.error().starts_with("ERR unknown command"));
}

#[tokio::test]
async fn info_tells_what_clients_and_sidecars_check() {
    let (server, mut client) = start_and_connect().await;
    let all = client.call("INFO").await.text();
    for line in [
        "redis_version:7.4.",
        "redis_mode:standalone",
        "role:master",
        "connected_slaves:0",
        "loading:0",
        "connected_clients:1",
        &format!("tcp_port:{}", server.redis.port()),
        "leasehold_version:",
    ] {
        assert!(all.contains(&format!("\r\n{line}")), "no {line} in {all}");
    }
    let one = client.call("INFO replication").await.text();
    assert_eq!(one, "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n");
    assert!(client.call("INFO stats").await.text().contains("total_commands_processed:3\r\n"));
}

#[tokio::test]
async fn hello_switches_to_the_new_protocol_and_back() {
    let (_server, mut client) = start_and_connect().await;
    assert_eq!(client.call("GET free").await, Value::Nil);
    let Value::Map(hello) = client.call("HELLO 3 SETNAME me").await else { panic!("a map") };
    let of = |name: &str| hello.iter().find(|(key, _)| *key == bulk(name)).unwrap().1.clone();
    assert_eq!((of("server"), of("proto"), of("role")), (bulk("redis"), Value::Integer(3), bulk("master")));
    assert_eq!((of("mode"), of("modules")), (bulk("standalone"), Value::Array(vec![])));
    assert_eq!(client.call("CLIENT GETNAME").await, bulk("me"));
    client.send(b"*2\r\n$3\r\nGET\r\n$4\r\nfree\r\n").await;
    let mut null = [0; 3];
    tokio::io::AsyncReadExt::read_exact(&mut client.stream, &mut null).await.unwrap();
    assert_eq!(&null, b"_\r\n");
    assert!(client.call("HELLO 4").await.error().starts_with("NOPROTO"));
    assert!(matches!(client.call("HELLO 2").await, Value::Array(flat) if flat.len() == 14));
    assert_eq!(client.call("HELLO 3").await, Value::Map(hello));
    assert_eq!(client.call("RESET").await, Value::Status("RESET".into()));
    assert!(matches!(client.call("HELLO").await, Value::Array(_)), "as it began");
    assert_eq!(client.call("QUIT").await, ok());
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_password_leads_to_its_namespace_and_nobody_gets_in_without() {
    let passwords = vec![password("one", None, None), password("two", Some("ann"), Some("team-b"))];
    let server = start(RedisOptions { namespace: "team-a".into(), passwords, ..RedisOptions::default() }).await;
    let mut client = Resp::to(&server).await;
    for refused in ["PING", "SET k v NX PX 60000", "INFO", "EVALSHA 0000000000000000000000000000000000000000 0"] {
        assert_eq!(client.call(refused).await.error(), "NOAUTH Authentication required.");
    }
    assert!(client.call("HELLO 3").await.error().starts_with("NOAUTH HELLO must be called"));
    for wrong in ["AUTH two", "AUTH ann one", "AUTH bob two", "AUTH onE", "HELLO 3 AUTH ann one"] {
        let refused = client.call(wrong).await;
        assert_eq!(refused.error(), "WRONGPASS invalid username-password pair or user is disabled.", "{wrong}");
    }
    assert_eq!(client.call("AUTH one").await, ok());
    assert_eq!(client.call("SET k first NX PX 60000").await, ok());
    let mut other = Resp::to(&server).await;
    assert!(matches!(other.call("HELLO 3 AUTH ann two").await, Value::Map(_)));
    assert_eq!(other.call("SET k second NX PX 60000").await, ok(), "another namespace");
    assert!(other.call("CLIENT INFO").await.text().contains("user=ann"));
    for (namespace, owner) in [("team-a", "first"), ("team-b", "second")] {
        let occupant = server.node.state().occupant(namespace, "k");
        assert!(matches!(&occupant, Occupant::One(holding) if holding.owner == owner), "{namespace}: {occupant:?}");
    }
    assert_eq!(other.call("RESET").await, Value::Status("RESET".into()));
    assert_eq!(other.call("PING").await.error(), "NOAUTH Authentication required.");
    assert_eq!(other.call("AUTH default one").await, ok());
    assert_eq!(other.call("GET k").await, bulk("first"));
}

#[tokio::test]
async fn a_password_where_none_is_set_is_answered_as_redis_does() {
    let (_server, mut client) = start_and_connect().await;
    let refused = client.call("AUTH secret").await;
    assert!(refused.error().starts_with("ERR AUTH <password> called without any password configured"), "{refused:?}");
    assert_eq!(client.call("AUTH default anything").await, ok());
    assert!(client.call("AUTH ann anything").await.error().starts_with("WRONGPASS"));
}
