//! Takes a lock, does something under it, and gives it back.
#![allow(clippy::print_stderr, reason = "an example talks to its reader")]

use leasehold_client::{Client, ClientOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = std::env::var("LEASEHOLD_ENDPOINTS").unwrap_or("127.0.0.1:7400".into());
    let client = Client::connect(ClientOptions::new(endpoint.split(','))).await?;

    let guard = client.lock("orders").acquire().await?; // waits its turn, then renews in the background
    let work = async { eprintln!("working under fencing token {}", guard.token()) };
    tokio::select! {
        () = work => {}
        _loss = guard.lost() => eprintln!("the lock was lost: stop, whatever it costs"),
    }
    guard.release().await?;
    Ok(())
}
