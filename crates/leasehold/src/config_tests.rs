//! Settings from flags, environment, file and defaults.

use clap::Parser;
use leasehold_frontend::{DelWithoutOwnerCheck, RedisOptions, SetWithoutTtl};

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: ServeArgs,
}

fn flags(line: &[&str]) -> ServeArgs {
    Line::parse_from(std::iter::once("serve").chain(line.iter().copied())).args
}

const ENOUGH: [&str; 6] = ["--node-id", "1", "--data-dir", "/data", "--peers", "1=10.0.0.1:7401,2=10.0.0.2:7401"];

fn file(text: &str) -> Result<File, String> {
    toml::from_str(text).map_err(|error| error.to_string())
}

fn refused(line: &[&str]) -> String {
    Settings::merge(flags(line), File::default()).unwrap_err().to_string()
}

#[test]
fn flags_win_over_the_file_and_that_over_defaults() {
    let text = "listen = '1.1.1.1:1'\nhttp-listen = '1.1.1.1:2'\nbootstrap = true\n[tuning]\nheartbeat = '70ms'";
    let mut line = ENOUGH.to_vec();
    line.extend(["--listen", "2.2.2.2:9"]);
    let settings = Settings::merge(flags(&line), file(text).unwrap()).unwrap();
    assert_eq!(settings.listen, "2.2.2.2:9");
    assert_eq!(settings.http_listen, "1.1.1.1:2");
    assert_eq!(settings.peer_listen, PEER_LISTEN_DEFAULT);
    assert!(settings.node.bootstrap);
    assert_eq!(settings.node.tuning.heartbeat, Duration::from_millis(70));
    line.push("--bootstrap=false");
    assert!(!Settings::merge(flags(&line), file(text).unwrap()).unwrap().node.bootstrap);
}

#[test]
fn unknown_keys_of_the_file_are_refused_by_name() {
    assert!(file("lisen = '1.1.1.1:1'").unwrap_err().contains("lisen"));
    assert!(file("[tuning]\nheart = '1s'").unwrap_err().contains("heart"));
}

#[test]
fn bad_values_name_their_field() {
    assert!(refused(&ENOUGH[2..]).starts_with("node-id:"));
    assert!(refused(&ENOUGH[..4]).starts_with("peers:"));
    for peers in ["nonsense", "1=host", "x=h:1", "0=h:1", "1=h:1,1=h:2", "1=h:1,2=h:1", ",", "2=h:1"] {
        let refusal = refused(&["--node-id", "1", "--data-dir", "/d", "--peers", peers]);
        assert!(refusal.starts_with("peers:"), "{peers}: {refusal}");
    }
    for level in ["0", "1000"] {
        let mut line = ENOUGH.to_vec();
        line.extend(["--level-max", level]);
        let refusal = refused(&line);
        assert!(refusal.starts_with("level-max:") && refusal.contains(&format!("1 and {LEVEL_MAX}")), "{refusal}");
    }
    let mut line = ENOUGH.to_vec();
    line.extend(["--listen", "7400"]);
    assert!(refused(&line).starts_with("listen:"));
    let slow = file("[tuning]\nheartbeat = 'soon'").unwrap();
    let refusal = Settings::merge(flags(&ENOUGH), slow).unwrap_err().to_string();
    assert!(refusal.starts_with("tuning.heartbeat:"), "{refusal}");
}

#[test]
fn peers_are_told_the_listed_address_not_the_one_listened_on() {
    let mut line = ENOUGH.to_vec();
    line.extend(["--peer-listen", "0.0.0.0:7401"]);
    let settings = Settings::merge(flags(&line), File::default()).unwrap();
    assert_eq!(settings.node.peer_address, "10.0.0.1:7401");
    assert_eq!(client_address("0.0.0.0:7400".parse().unwrap(), "10.0.0.1:7401"), "10.0.0.1:7400");
    assert_eq!(client_address("127.0.0.1:7400".parse().unwrap(), "10.0.0.1:7401"), "127.0.0.1:7400");
}

#[test]
fn the_redis_door_is_closed_until_it_is_given_a_port() {
    let settings = |line: &[&str], text: &str| Settings::merge(flags(line), file(text).unwrap());
    assert_eq!(settings(&ENOUGH, "").unwrap().redis_listen, None);
    let listen = "[redis]\nlisten = '1.1.1.1:7403'";
    assert_eq!(settings(&ENOUGH, listen).unwrap().redis_listen.as_deref(), Some("1.1.1.1:7403"));
    let mut line = ENOUGH.to_vec();
    line.extend(["--redis-listen", "2.2.2.2:9"]);
    assert_eq!(settings(&line, listen).unwrap().redis_listen.as_deref(), Some("2.2.2.2:9"), "flags win");
    line.extend(["--listen", "2.2.2.2:8"]);
    line[7] = "7403";
    assert!(settings(&line, "").unwrap_err().to_string().starts_with("redis-listen:"));
}

#[test]
fn the_redis_table_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "from the file\n").unwrap();
    let text = format!(
        "[redis]\nnamespace = 'all'\nset-without-ttl = 'cap'\nset-without-ttl-cap = '1h'\ndel-without-owner-check = 'allow'\n\
         connections-max = 7\n[[redis.passwords]]\npassword = 'one'\nuser = 'ann'\nnamespace = 'team'\n\
         [[redis.passwords]]\npassword-file = '{}'\n",
        secret.display()
    );
    let redis = Settings::merge(flags(&ENOUGH), file(&text).unwrap()).unwrap().frontend.redis;
    assert_eq!((redis.namespace.as_str(), redis.connections_max), ("all", 7));
    assert_eq!(redis.set_without_ttl, SetWithoutTtl::Cap(Duration::from_secs(3600)));
    assert_eq!(redis.del_without_owner_check, DelWithoutOwnerCheck::Allow);
    let (one, two) = (&redis.passwords[0], &redis.passwords[1]);
    assert_eq!(
        (one.password.as_str(), one.user.as_deref(), one.namespace.as_deref()),
        ("one", Some("ann"), Some("team"))
    );
    assert_eq!((two.password.as_str(), two.user.as_deref(), two.namespace.as_deref()), ("from the file", None, None));
}

#[test]
fn bad_redis_settings_name_their_field_and_show_no_password() {
    for (text, field) in [
        ("del-without-owner-check = 'cap'", "redis.del-without-owner-check: \"cap\" has no meaning for a deletion"),
        ("set-without-ttl = 'cap'", "redis.set-without-ttl-cap: is required"),
        ("set-without-ttl = 'cap'\nset-without-ttl-cap = 'soon'", "redis.set-without-ttl-cap: \"soon\""),
        ("set-without-ttl = 'cap'\nset-without-ttl-cap = '0s'", "redis.set-without-ttl-cap: must be"),
        ("set-without-ttl = 'allow'\nset-without-ttl-cap = '1h'", "redis.set-without-ttl-cap: belongs to"),
        ("namespace = ''", "redis.namespace:"),
        ("connections-max = 0", "redis.connections-max:"),
        ("[[redis.passwords]]\nuser = 'ann'", "redis.passwords: an entry has neither"),
        ("[[redis.passwords]]\npassword = 'a'\npassword-file = 'b'", "redis.passwords: an entry has both"),
        ("[[redis.passwords]]\npassword-file = '/nonexistent'", "redis.passwords.password-file: /nonexistent"),
        ("[[redis.passwords]]\npassword = ''", "redis.passwords.password:"),
    ] {
        let settings = Settings::merge(flags(&ENOUGH), file(&format!("[redis]\n{text}")).unwrap());
        let refusal = settings.unwrap_err().to_string();
        assert!(refusal.starts_with(field), "{text}: {refusal}");
    }
    assert!(file("[redis]\nlisen = 'x'").unwrap_err().contains("lisen"));
    assert!(file("[redis]\nset-without-ttl = 'maybe'").unwrap_err().contains("maybe"));
    let shown = format!("{:?}", file("[[redis.passwords]]\npassword = 'sesame'").unwrap());
    assert!(!shown.contains("sesame"), "{shown}");
}

#[test]
fn the_example_file_is_valid() {
    let text = include_str!("../../../deploy/leasehold.toml");
    let settings = Settings::merge(ServeArgs::default(), file(text).unwrap()).unwrap();
    assert_eq!(settings.node.tuning, Tuning::default(), "the example shows the defaults");
    assert_eq!((settings.redis_listen, settings.frontend.redis), (None, RedisOptions::default()));
}
