//! What a command is told about the locks that it runs under.

use leasehold_client::MultiGuard;

use crate::cli::ClientArgs;

/// Variables to be set, or removed where there is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Environment(pub(super) Vec<(&'static str, Option<String>)>);

/// The names and tokens of what is held, its lease, and how to reach the cluster.
pub(super) fn of(guard: &MultiGuard, client: &ClientArgs) -> Environment {
    let grants: Vec<(&str, u64)> = guard.grants().iter().map(|grant| (grant.name.as_str(), grant.token.0)).collect();
    let mut variables = locks(&grants);
    variables.push(("LEASEHOLD_LEASE", Some(guard.lease().to_string())));
    variables.push(("LEASEHOLD_ENDPOINTS", Some(client.reach.endpoints.join(","))));
    variables.push(("LEASEHOLD_NAMESPACE", Some(client.namespace.clone())));
    Environment(variables)
}

/// Names may have spaces in them, but no line breaks: a lock a line. A single token is told of a single lock only, so that
/// nobody passes the token of one lock on as that of another.
fn locks(grants: &[(&str, u64)]) -> Vec<(&'static str, Option<String>)> {
    let lines = |line: fn(&(&str, u64)) -> String| grants.iter().map(line).collect::<Vec<_>>().join("\n");
    let token = match grants {
        [(_, token)] => Some(token.to_string()),
        _ => None,
    };
    vec![
        ("LEASEHOLD_LOCK", Some(lines(|(name, _)| (*name).to_owned()))),
        ("LEASEHOLD_TOKEN", token),
        ("LEASEHOLD_TOKENS", Some(lines(|(name, token)| format!("{token} {name}")))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lock_has_a_token_and_several_have_a_line_each() {
        let one = locks(&[("a b", 7)]);
        assert_eq!(one[0], ("LEASEHOLD_LOCK", Some("a b".to_owned())));
        assert_eq!(one[1], ("LEASEHOLD_TOKEN", Some("7".to_owned())));
        assert_eq!(one[2], ("LEASEHOLD_TOKENS", Some("7 a b".to_owned())));
        let two = locks(&[("a", 7), ("b", 8)]);
        assert_eq!(two[0], ("LEASEHOLD_LOCK", Some("a\nb".to_owned())));
        assert_eq!(two[1], ("LEASEHOLD_TOKEN", None), "one that was inherited is removed");
        assert_eq!(two[2], ("LEASEHOLD_TOKENS", Some("7 a\n8 b".to_owned())));
    }
}
