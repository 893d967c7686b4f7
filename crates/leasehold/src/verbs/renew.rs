//! `leasehold renew`.

use leasehold_client::{Client, LeaseId, Renewed};
use serde_json::json;

use super::reason_name;
use crate::cli::RenewArgs;
use crate::exit::{Exit, Failure};
use crate::output::{self, Format};

pub(super) async fn run(args: RenewArgs) -> Result<Exit, Failure> {
    let client = Client::connect(args.client.options()).await?;
    let lease = LeaseId(args.lease);
    match client.renew(&lease, args.ttl).await? {
        Renewed::Alive { ttl } => {
            let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
            match args.output.output {
                Format::Json => output::json(&json!({ "lease": lease.as_str(), "ttl_ms": ttl_ms })),
                Format::Table => output::table(["LEASE", "TTL"], [[lease.to_string(), output::span(ttl)]]),
            }
            Ok(Exit::Ok)
        }
        Renewed::Ended { reason } => {
            let reason = reason.and_then(reason_name).map_or(String::new(), |reason| format!(": {reason}"));
            Err(Failure::new(Exit::Refused, format!("lease {lease} has ended{reason}")))
        }
    }
}
