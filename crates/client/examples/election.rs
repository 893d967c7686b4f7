//! Three candidates for one office: each leads in its turn, proclaims something, and resigns; an observer watches.
//!
//! Against `leasehold dev` or any cluster: `LEASEHOLD_ENDPOINTS=a:7400,b:7400 cargo run -p leasehold-client --example election`
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::time::Duration;

use leasehold_client::{Client, ClientOptions, Error, Token};
use tokio::sync::watch;

/// What the observer has seen last: token and version.
type Seen = Option<(Token, u64)>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoints = std::env::var("LEASEHOLD_ENDPOINTS").unwrap_or("127.0.0.1:7400".into());
    let options = ClientOptions::new(endpoints.split(','));
    let observer = Client::connect(options.clone()).await?;
    let mut leaders = observer.election("example/office").observe();
    let (seen, seeing) = watch::channel(Seen::None);

    // Each with a client, and so a session, of its own: as if in a process of its own.
    let run = |name: &'static str| tokio::spawn(run_for_office(name, options.clone(), seeing.clone()));
    let candidates = ["anna", "ben", "carla"].map(run);

    let mut farewells = 0;
    while farewells < candidates.len() {
        let leader = leaders.next().await.ok_or(Error::Closed)??;
        let value = String::from_utf8_lossy(&leader.value);
        println!("token {}: {} says \"{value}\"", leader.token, leader.owner);
        farewells += usize::from(value == "goodbye");
        let before = seen.send_replace(Some((leader.token, leader.version)));
        if before > Some((leader.token, leader.version)) {
            return Err("an older leader was told of after a newer one".into());
        }
    }
    for candidate in candidates {
        candidate.await??;
    }
    println!("nobody leads any more: {:?}", observer.election("example/office").leader().await?);
    Ok(())
}

async fn run_for_office(name: &str, options: ClientOptions, mut seeing: watch::Receiver<Seen>) -> Result<(), Error> {
    let client = Client::connect(ClientOptions { owner: name.to_owned(), ..options }).await?;
    let mut leadership = client.election("example/office").campaign("hello").await?;
    leadership.proclaim("goodbye").await?;
    // A real leader works here, for as long as `leadership.lost()` does not resolve. This one waits for its public.
    let goodbye = Some((leadership.token(), leadership.version()));
    let heard = seeing.wait_for(|seen| *seen >= goodbye).await;
    drop(heard);
    leadership.resign().await?;
    client.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
