//! What Redis allows and a lock service had better not: refused, or done and told.

use std::io::Write;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use leasehold_frontend::{DelWithoutOwnerCheck, RedisOptions, RedisPassword, SetWithoutTtl};
use parking_lot::Mutex;
use tracing_subscriber::filter::LevelFilter;

use crate::resp::{Resp, Value, ok, start, start_and_connect};

/// The log of this process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Begins to listen, once.
    fn open() -> Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Self::default();
            let writer = log.clone();
            tracing_subscriber::fmt()
                .with_max_level(LevelFilter::WARN)
                .with_ansi(false)
                .with_writer(move || writer.clone())
                .init();
            log
        })
        .clone()
    }

    /// What was audited about a lock.
    fn audited(&self, lock: &str) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.0.lock()).into_owned();
        let about = format!("lock=\"{lock}\"");
        text.lines().filter(|line| line.contains(" audit: ") && line.contains(&about)).map(Into::into).collect()
    }
}

#[tokio::test]
async fn by_default_what_compares_no_owner_or_has_no_end_is_refused() {
    let (server, mut client) = start_and_connect().await;
    for words in ["SET k me NX", "SETNX k me"] {
        let refused = client.call(words).await;
        assert!(refused.error().contains("set-without-ttl"), "{words}: {refused:?}");
    }
    assert_eq!(client.call("SET k me NX PX 600000").await, ok());
    for words in ["DEL k", "UNLINK k", "PEXPIRE k 1000", "EXPIRE k 1"] {
        let refused = client.call(words).await;
        assert!(refused.error().contains("del-without-owner-check"), "{words}: {refused:?}");
    }
    assert!(client.call("PTTL k").await.integer() > 300_000);
    assert_eq!(client.call("SET k you NX").await, Value::Nil, "held is held, whatever was asked for");
    let metrics = crate::wire::http_get(server.http, "/metrics").await;
    for kind in ["set_without_ttl", "del_without_owner_check", "expire_without_owner_check"] {
        assert!(metrics.contains(&format!("leasehold_redis_refused_total{{kind=\"{kind}\"}}")), "{metrics}");
    }
}

#[tokio::test]
async fn what_a_policy_allows_is_done_counted_and_audited() {
    let log = Log::open();
    let passwords =
        vec![RedisPassword { password: "p".into(), user: Some("ann".into()), namespace: Some("ns".into()) }];
    let server = start(RedisOptions {
        passwords,
        set_without_ttl: SetWithoutTtl::Allow,
        del_without_owner_check: DelWithoutOwnerCheck::Allow,
        ..RedisOptions::default()
    })
    .await;
    let mut client = Resp::to(&server).await;
    client.call("AUTH ann p").await;
    assert_eq!(client.call("SET allowed me NX").await, ok());
    let left = client.call("PTTL allowed").await.integer();
    assert!((80_000_000..=86_400_000).contains(&left), "the longest there is, {left}");
    assert_eq!(client.call("PEXPIRE allowed 60000").await, Value::Integer(1));
    assert_eq!(client.call("DEL allowed").await, Value::Integer(1));
    assert_eq!(client.call("DEL allowed").await, Value::Integer(0));
    let audited = log.audited("allowed");
    assert_eq!(audited.len(), 3, "{audited:?}");
    let peer = client.stream.local_addr().unwrap();
    for (line, what) in audited.iter().zip(["set_without_ttl", "expire_without_owner_check", "del_without_owner_check"])
    {
        assert!(line.contains("WARN") && line.contains(&format!("what=\"{what}\"")), "{line}");
        for field in [
            "door=\"redis\"".to_owned(),
            "namespace=ns".to_owned(),
            "owner=\"me\"".to_owned(),
            "user=ann".to_owned(),
            format!("peer={peer}"),
            "token=".to_owned(),
        ] {
            assert!(line.contains(&field), "no {field} in {line}");
        }
    }
    let metrics = crate::wire::http_get(server.http, "/metrics").await;
    assert!(metrics.contains("leasehold_redis_unchecked_total{what=\"del_without_owner_check\"}"), "{metrics}");
}

#[tokio::test]
async fn a_cap_is_the_time_to_live_of_locks_that_ask_for_none() {
    let log = Log::open();
    let cap = Duration::from_secs(90);
    let server = start(RedisOptions { set_without_ttl: SetWithoutTtl::Cap(cap), ..RedisOptions::default() }).await;
    let mut client = Resp::to(&server).await;
    assert_eq!(client.call("SETNX capped me").await, Value::Integer(1));
    assert!((1..=90_000).contains(&client.call("PTTL capped").await.integer()));
    assert_eq!(log.audited("capped").len(), 1);
    assert_eq!(client.call("SET ended me NX PX 60000").await, ok());
    assert!(log.audited("ended").is_empty(), "an ordinary lock is not news");
}
