//! A node without quorum answers with an error, within a bound.

use std::time::Duration;

use leasehold_frontend::FrontendOptions;

use crate::resp::{Resp, Value};
use crate::server::Server;

#[tokio::test]
async fn without_a_quorum_every_command_ends_with_an_error_that_no_client_takes_for_more() {
    let options = FrontendOptions { call_default: Duration::from_millis(200), ..FrontendOptions::default() };
    let server = Server::start_without_quorum(options).await;
    let mut client = Resp::to(&server).await;
    let release = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0";
    assert_eq!(client.call("PING").await, Value::Status("PONG".into()));
    for refused in [
        client.call("SET k me NX PX 60000").await,
        client.call("GET k").await,
        client.call("PTTL k").await,
        client.eval(release, &["k"], &["me"]).await,
    ] {
        assert!(refused.error().starts_with("ERR ") && refused.error().contains("leader"), "{refused:?}");
    }
    assert_eq!(client.call("PING").await, Value::Status("PONG".into()), "the connection lives on");
}
