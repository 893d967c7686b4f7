//! Settings from flags, environment, file and defaults.

use clap::Parser;

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
fn the_example_file_is_valid() {
    let text = include_str!("../../../deploy/leasehold.toml");
    let settings = Settings::merge(ServeArgs::default(), file(text).unwrap()).unwrap();
    assert_eq!(settings.node.tuning, Tuning::default(), "the example shows the defaults");
}
