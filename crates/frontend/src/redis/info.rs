//! What `INFO` tells.

use std::fmt::Write as _;

use super::door::Door;

/// The Redis whose commands these are: clients look at it to decide what to use.
pub(super) const REDIS_VERSION: &str = "7.4.0";
/// What an `INFO` without sections, or with one of these, tells: everything.
const ALL: [&str; 3] = ["all", "default", "everything"];

/// The text of the sections that are asked for; all of them where none is.
pub(super) fn text(door: &Door, asked: &[String]) -> String {
    let all = asked.is_empty() || asked.iter().any(|section| ALL.contains(&section.as_str()));
    let mut text = String::new();
    for (section, lines) in sections(door) {
        if !all && !asked.iter().any(|asked| asked.eq_ignore_ascii_case(section)) {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        // Writing to a String cannot fail.
        let _always = write!(text, "# {section}\r\n");
        for (name, value) in lines {
            let _always = write!(text, "{name}:{value}\r\n");
        }
    }
    text
}

type Lines = Vec<(&'static str, String)>;

fn sections(door: &Door) -> [(&'static str, Lines); 6] {
    let count = door.counts();
    [
        (
            "Server",
            vec![
                ("redis_version", REDIS_VERSION.into()),
                ("redis_mode", "standalone".into()),
                ("server_name", "leasehold".into()),
                ("leasehold_version", env!("CARGO_PKG_VERSION").into()),
                ("node_id", door.node_id().to_string()),
                ("process_id", std::process::id().to_string()),
                ("tcp_port", door.port().to_string()),
            ],
        ),
        (
            "Clients",
            vec![
                ("connected_clients", count.connected.to_string()),
                ("maxclients", door.options().connections_max.to_string()),
                ("blocked_clients", "0".into()),
            ],
        ),
        (
            "Persistence",
            vec![("loading", "0".into()), ("async_loading", "0".into()), ("rdb_bgsave_in_progress", "0".into())],
        ),
        (
            "Stats",
            vec![
                ("total_connections_received", count.connections.to_string()),
                ("total_commands_processed", count.commands.to_string()),
                ("rejected_connections", count.rejected.to_string()),
                ("number_of_cached_scripts", door.scripts().len().to_string()),
            ],
        ),
        // Replicas are the cluster's own affair: to a client every node is the master, and has none.
        ("Replication", vec![("role", "master".into()), ("connected_slaves", "0".into())]),
        ("Cluster", vec![("cluster_enabled", "0".into())]),
    ]
}
