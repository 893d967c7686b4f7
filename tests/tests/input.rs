//! Bad input, through real sockets and the real command line: a clear refusal, nothing changed, the node lives.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use leasehold_proto::v1::acquire_response::Result as Acquired;
use leasehold_proto::v1::lock_service_client::LockServiceClient;
use leasehold_proto::v1::{self, AcquireRequest, LockRequest, ReleaseRequest, RenewLease, RenewRequest};
use leasehold_testkit::cluster::{Cluster, ClusterOptions, leasehold_binary};
use leasehold_tests::{alone, seed};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;

const GARBAGE_ROUNDS: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_every_port_ends_the_connection_and_not_the_node() -> Result<()> {
    let _alone = alone().await;
    let mut random = StdRng::seed_from_u64(seed("input", "garbage_on_every_port_ends_the_connection_and_not_the_node"));
    let mut cluster = Cluster::start(ClusterOptions::default()).await?;
    let node = cluster.node(1);
    let addresses = [node.client_address(), node.peer_address(), node.http_address()];
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for address in &addresses {
        for round in 0..GARBAGE_ROUNDS {
            let mut bytes = vec![0; random.random_range(1..4_000)];
            random.fill_bytes(&mut bytes);
            // Half of it gets past the greeting.
            if round % 2 == 0 {
                bytes.splice(0..0, preface.iter().copied());
            }
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            // A node that hung up already has done what it should.
            let _ = stream.write_all(&bytes).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
            let mut answer = Vec::new();
            match stream.read_to_end(&mut answer) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
                Err(error) => anyhow::bail!("{address} kept a connection full of garbage open: {error}"),
            }
        }
    }
    ensure!(cluster.node_mut(1).exited().is_none(), "node 1 ended:\n{}", cluster.node(1).log_tail());
    ensure!(!cluster.node(1).log_text().contains("panicked"), "{}", cluster.node(1).log_tail());
    cluster.wait_all_applied().await?;
    let mut service = connect(&cluster).await?;
    take(&mut service, "after").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_refused_by_field_and_change_nothing() -> Result<()> {
    let _alone = alone().await;
    seed("input", "bad_requests_are_refused_by_field_and_change_nothing");
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let mut service = connect(&cluster).await?;
    let (token, lease) = take(&mut service, "held").await?;
    let (other, _) = take(&mut service, "other").await?;
    let long = "x".repeat(513);
    type Change<'a> = &'a dyn Fn(&mut AcquireRequest);
    let rows: [(&str, &str, Change<'_>); 9] = [
        ("locks[0].name", "empty", &|request| request.locks[0].name.clear()),
        ("locks[0].name", "512", &|request| request.locks[0].name.clone_from(&long)),
        ("locks[0].name", "control", &|request| request.locks[0].name = "a\nb".into()),
        ("locks", "at least one", &|request| request.locks.clear()),
        ("owner", "empty", &|request| request.owner.clear()),
        ("ttl_ms", "100", &|request| request.ttl_ms = 1),
        ("ttl_ms", "86400000", &|request| request.ttl_ms = u64::MAX),
        ("wait_ms", "30000", &|request| request.wait_ms = Some(30_001)),
        ("metadata", "1024", &|request| request.metadata = "m".repeat(1_025)),
    ];
    for (field, words, change) in rows {
        let mut request = acquire("fresh");
        change(&mut request);
        let status = service.acquire(request).await.err().with_context(|| format!("{field} was taken"))?;
        refused(&status, Code::InvalidArgument, field, words)?;
    }
    let zero = AcquireRequest { wait_ms: Some(0), ..acquire("fresh") };
    refused(
        &service.acquire(zero).await.err().context("a wait of 0 was taken")?,
        Code::InvalidArgument,
        "wait_ms",
        "1",
    )?;
    let renew = |lease: &str| RenewRequest {
        leases: vec![RenewLease { lease: lease.into(), ..RenewLease::default() }],
        ..RenewRequest::default()
    };
    let malformed = service.renew(renew("nonsense")).await.err().context("a malformed lease was renewed")?;
    refused(&malformed, Code::InvalidArgument, "leases[0].lease", "hexadecimal")?;
    let unknown = service.renew(renew("00000000000000ff")).await?.into_inner();
    ensure!(!unknown.leases[0].alive, "an unknown lease lives: {unknown:?}");
    let release = |name: &str, token| ReleaseRequest { name: name.into(), token, ..ReleaseRequest::default() };
    for (name, token) in [("held", other), ("other", token), ("held", token + 1_000_000)] {
        let status = service.release(release(name, token)).await.err().context("a foreign token released")?;
        ensure!(status.code() == Code::FailedPrecondition, "{name} with token {token}: {status:?}");
    }
    // A stale token is fine, and does nothing to the one who holds now.
    ensure!(service.release(release("other", other)).await?.into_inner().released, "its holder releases it");
    let (newer, _) = take(&mut service, "other").await?;
    let stale = service.release(release("other", other)).await?.into_inner();
    ensure!(!stale.released, "a stale token released token {newer}");
    for (name, token) in [("held", token), ("other", newer)] {
        let get = v1::GetRequest { name: name.into(), ..Default::default() };
        let lock = service.get(get).await?.into_inner().lock.context("a lock")?;
        ensure!(lock.holders.len() == 1 && lock.holders[0].token == token, "{name} is not held as before: {lock:?}");
    }
    let fresh = service.get(v1::GetRequest { name: "fresh".into(), ..Default::default() }).await?.into_inner();
    ensure!(
        fresh.lock.is_none_or(|lock| lock.holders.is_empty() && lock.waiters.is_empty()),
        "a refused acquire left a trace"
    );
    ensure!(service.renew(renew(&lease)).await?.into_inner().leases[0].alive, "the lease lives");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_line_says_what_is_wrong_by_exit_code() -> Result<()> {
    let _alone = alone().await;
    seed("input", "command_line_says_what_is_wrong_by_exit_code");
    let cluster = Cluster::start(ClusterOptions::default()).await?;
    let endpoints = cluster.endpoints().join(",");
    let run = |arguments: &[&str]| leasehold(&endpoints, arguments);
    let held = run(&["acquire", "held", "--try", "--ttl", "60s", "-o", "json"])?;
    let held: serde_json::Value = serde_json::from_slice(&held.stdout)?;
    let token = held["token"].as_str().context("the token is text")?.to_owned();
    let long = "x".repeat(513);
    for (code, words, arguments) in [
        (64, "NAME", vec!["acquire", "", "--try"]),
        (64, "512", vec!["acquire", &long, "--try"]),
        (64, "control", vec!["acquire", "a\tb", "--try"]),
        (64, "100", vec!["acquire", "a", "--try", "--ttl", "1ms"]),
        (64, "500ms", vec!["acquire", "a", "--ttl", "nonsense"]),
        (64, "unrecognized", vec!["frobnicate"]),
        (64, "hexadecimal", vec!["renew", "nonsense"]),
        (65, "lease", vec!["renew", "00000000000000ff"]),
        (65, "token", vec!["release", "held", "9007199254740991"]),
        (65, "token", vec!["release", "other", &token]),
        (75, "held", vec!["acquire", "held", "--try"]),
        (75, "held", vec!["acquire", "held", "--wait", "300ms"]),
    ] {
        let output = run(&arguments)?;
        let (out, err) = texts(&output);
        ensure!(output.status.code() == Some(code), "{arguments:?}: {}, not {code}\n{out}\n{err}", output.status);
        ensure!(err.contains(words) || out.contains(words), "{arguments:?} does not say `{words}`:\n{out}\n{err}");
    }
    let released = run(&["release", "held", &token])?;
    ensure!(released.status.success(), "the holder releases: {}", texts(&released).1);
    let again = run(&["release", "held", &token, "-o", "json"])?;
    let answer: serde_json::Value = serde_json::from_slice(&again.stdout)?;
    ensure!(again.status.success() && answer["released"] == false, "what is no longer held: {answer}");
    let nobody = leasehold("127.0.0.1:1", &["acquire", "a", "--try", "--timeout", "1s"])?;
    ensure!(nobody.status.code() == Some(69), "nobody listens there: {} {}", nobody.status, texts(&nobody).1);
    Ok(())
}

fn leasehold(endpoints: &str, arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(leasehold_binary()?).args(arguments).env("LEASEHOLD_ENDPOINTS", endpoints).output()?)
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

async fn connect(cluster: &Cluster) -> Result<LockServiceClient<Channel>> {
    let endpoint = Endpoint::from_shared(format!("http://{}", cluster.node(1).client_address()))?;
    Ok(LockServiceClient::new(endpoint.connect().await?))
}

fn acquire(name: &str) -> AcquireRequest {
    let lock = LockRequest { name: name.into(), ..Default::default() };
    AcquireRequest { locks: vec![lock], owner: "test".into(), ttl_ms: 60_000, ..Default::default() }
}

async fn take(service: &mut LockServiceClient<Channel>, name: &str) -> Result<(u64, String)> {
    match service.acquire(acquire(name)).await?.into_inner().result {
        Some(Acquired::Granted(granted)) => Ok((granted.grants[0].token, granted.lease)),
        other => anyhow::bail!("{name} is free, but: {other:?}"),
    }
}

/// The refusal has this code, names the field in its details, and says the limit in words.
fn refused(status: &Status, code: Code, field: &str, words: &str) -> Result<()> {
    ensure!(status.code() == code, "{field}: {status:?}");
    let details = status.get_error_details();
    let named = details.bad_request().is_some_and(|bad| bad.field_violations.iter().any(|it| it.field == field));
    ensure!(named, "{field} is not named: {details:?}");
    let reason = details.error_info().with_context(|| format!("{field}: no ErrorInfo"))?;
    ensure!(reason.domain == "leasehold" && !reason.reason.is_empty(), "{field}: {reason:?}");
    ensure!(status.message().contains(words), "{field}: `{}` does not say `{words}`", status.message());
    Ok(())
}
