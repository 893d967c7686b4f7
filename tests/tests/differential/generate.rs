//! Random sequences of commands, from a seed.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::scripts::{Args, FAILING, Keys, SCRIPTS, Script};

/// The words of one command.
pub(crate) type Words = Vec<Vec<u8>>;

/// One thing to do on both sides.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Commands in one write, on one connection.
    Ask { connection: usize, commands: Vec<Command> },
    /// A key of its own is taken for so short that it runs out; then it is gone on both sides.
    RunOut { connection: usize, key: String },
}

/// A command and how its replies compare.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) words: Words,
    pub(crate) keys: Vec<String>,
    /// Numbers in its reply are times.
    pub(crate) tells_time: bool,
    /// What it does depends on the time left.
    pub(crate) heeds_time: bool,
    /// It is a script that ends in an error.
    pub(crate) fails: bool,
}

const KEYS: usize = 4;
const OWNERS: [&str; 7] = ["w1", "w2", "w3", "42", "3.0", "with a space", "ünï©ode"];
/// Far from one another: how long a run takes makes no difference between them.
const TIMES_MS: [u64; 4] = [60_000, 200_000, 900_000, 3_600_000];
const OTHER_TIMES_MS: [u64; 3] = [120_000, 500_000, 2_000_000];
const PIPELINE_MAX: usize = 6;

/// Where the next command comes from.
pub(crate) struct Generator {
    random: StdRng,
    seed: u64,
    connections: usize,
    /// SHA-1 of each of [`SCRIPTS`].
    names: Vec<String>,
    ran_out: usize,
}

impl Generator {
    pub(crate) fn new(seed: u64, connections: usize, names: Vec<String>) -> Self {
        Self { random: StdRng::seed_from_u64(seed), seed, connections, names, ran_out: 0 }
    }

    pub(crate) fn step(&mut self) -> Step {
        let connection = self.random.random_range(0..self.connections);
        if self.random.random_ratio(1, 150) {
            self.ran_out += 1;
            return Step::RunOut { connection, key: format!("d{}-short-{}", self.seed, self.ran_out) };
        }
        if self.random.random_ratio(1, 15) {
            return Step::Ask { connection, commands: self.by_name() };
        }
        let commands = if self.random.random_ratio(1, 8) { self.random.random_range(2..=PIPELINE_MAX) } else { 1 };
        Step::Ask { connection, commands: (0..commands).map(|_| self.command()).collect() }
    }

    /// Every key of the run.
    pub(crate) fn keys(&self) -> Vec<String> {
        (0..KEYS).map(|number| format!("d{}-{number}", self.seed)).collect()
    }

    fn command(&mut self) -> Command {
        match self.random.random_range(0..100) {
            0..45 => self.plain(),
            45..85 => self.script(),
            85..92 => self.wrong(),
            _ => self.about_the_connection(),
        }
    }

    fn key(&mut self) -> String {
        format!("d{}-{}", self.seed, self.random.random_range(0..KEYS))
    }

    fn distinct_keys(&mut self, count: usize) -> Vec<String> {
        self.keys().choose_multiple(&mut self.random, count).cloned().collect()
    }

    fn owner(&mut self) -> String {
        // The first ones most often, so that owners match.
        let among = if self.random.random_ratio(4, 5) { 2 } else { OWNERS.len() };
        OWNERS[self.random.random_range(0..among)].to_owned()
    }

    fn any_case(&mut self, word: &str) -> String {
        if self.random.random() { word.to_ascii_uppercase() } else { word.to_ascii_lowercase() }
    }

    fn time_option(&mut self) -> Vec<String> {
        let ms = *TIMES_MS.choose(&mut self.random).unwrap_or(&60_000);
        if self.random.random() {
            vec![self.any_case("px"), ms.to_string()]
        } else {
            vec![self.any_case("ex"), (ms / 1000).to_string()]
        }
    }

    fn plain(&mut self) -> Command {
        let key = self.key();
        let one = |words: Vec<String>| Command::new(words, vec![key.clone()], false);
        match self.random.random_range(0..17) {
            0..4 => {
                let mut words = vec![self.any_case("set"), key.clone(), self.owner()];
                let (condition, time) = (self.any_case("nx"), self.time_option());
                if self.random.random() {
                    words.push(condition);
                    words.extend(time);
                } else {
                    words.extend(time);
                    words.push(condition);
                }
                one(words)
            }
            4 => {
                let (set, owner, condition) = (self.any_case("set"), self.owner(), self.any_case("xx"));
                one([vec![set, key.clone(), owner, condition], self.time_option()].concat())
            }
            5 => one(vec![self.any_case("setnx"), key.clone(), self.owner()]),
            6 | 7 => one(vec![self.any_case("get"), key.clone()]),
            8 => one(vec![self.any_case("strlen"), key.clone()]),
            9 => {
                let range = (self.random.random_range(-5..5), self.random.random_range(-5..5));
                one(vec!["GETRANGE".into(), key.clone(), range.0.to_string(), range.1.to_string()])
            }
            10 | 11 => {
                let word = if self.random.random() { "ttl" } else { "pttl" };
                Command::new(vec![self.any_case(word), key.clone()], vec![key.clone()], true)
            }
            12 | 13 => self.expire(key),
            14 => {
                let word = if self.random.random() { "exists" } else { "mget" };
                let keys: Vec<String> = (0..self.random.random_range(1..4)).map(|_| self.key()).collect();
                Command::new([vec![self.any_case(word)], keys.clone()].concat(), keys, false)
            }
            15 => {
                let word = if self.random.random() { "del" } else { "unlink" };
                let count = self.random.random_range(1..3);
                let keys = self.distinct_keys(count);
                Command::new([vec![self.any_case(word)], keys.clone()].concat(), keys, false)
            }
            _ => {
                let keys = self.distinct_keys(2);
                let owner = self.owner();
                let pairs = keys.iter().flat_map(|key| [key.clone(), owner.clone()]).collect();
                Command::new([vec!["MSETNX".into()], pairs].concat(), keys, false)
            }
        }
    }

    fn expire(&mut self, key: String) -> Command {
        let ms = *OTHER_TIMES_MS.choose(&mut self.random).unwrap_or(&120_000);
        let mut words = if self.random.random() {
            vec![self.any_case("pexpire"), key.clone(), ms.to_string()]
        } else {
            vec![self.any_case("expire"), key.clone(), (ms / 1000).to_string()]
        };
        match self.random.random_range(0..8) {
            0 => words.push(self.any_case("xx")),
            1 => words.push(self.any_case("gt")),
            2 => words.push(self.any_case("lt")),
            3 => words[2] = "-1".into(),
            4 => words[2] = "0".into(),
            _ => {}
        }
        let conditional = words.len() > 3;
        Command { heeds_time: conditional, ..Command::new(words, vec![key], false) }
    }

    fn script(&mut self) -> Command {
        let fails = self.random.random_ratio(1, 12);
        let among = if fails { FAILING } else { SCRIPTS };
        let script = among[self.random.random_range(0..among.len())];
        Command { fails, ..self.call(script) }
    }

    fn call(&mut self, script: Script) -> Command {
        let count = match script.keys {
            Keys::None => 0,
            Keys::One => 1,
            Keys::OneToThree => self.random.random_range(1..=3),
        };
        let keys = self.distinct_keys(count);
        let mut words = vec!["EVAL".to_owned(), script.body.to_owned(), count.to_string()];
        words.extend(keys.iter().cloned());
        if script.args != Args::None {
            words.push(self.owner());
        }
        if script.args == Args::OwnerAndTime {
            words.push(TIMES_MS.choose(&mut self.random).unwrap_or(&60_000).to_string());
        }
        let heeds_time = script.body.contains("ttl");
        Command { heeds_time, ..Command::new(words, keys, script.tells_time) }
    }

    /// A script that is loaded, is there then, and is run by its name.
    fn by_name(&mut self) -> Vec<Command> {
        let number = self.random.random_range(0..SCRIPTS.len());
        let (script, name) = (SCRIPTS[number], self.names[number].clone());
        let plain = |words: [&str; 3]| Command::new(words.map(str::to_owned).to_vec(), Vec::new(), false);
        let mut call = self.call(script);
        call.words[0] = b"EVALSHA".to_vec();
        call.words[1] = name.clone().into_bytes();
        vec![plain(["SCRIPT", "LOAD", script.body]), plain(["SCRIPT", "EXISTS", &name]), call]
    }

    /// Commands that get an error, most of them.
    fn wrong(&mut self) -> Command {
        let key = self.key();
        let line = *WRONG.choose(&mut self.random).unwrap_or(&"");
        let words = line.split(' ').map(|word| if word == "KEY" { key.clone() } else { word.to_owned() }).collect();
        Command::new(words, vec![key], false)
    }

    fn about_the_connection(&mut self) -> Command {
        let line = *CONNECTION.choose(&mut self.random).unwrap_or(&"PING");
        Command::new(line.split(' ').map(str::to_owned).collect(), Vec::new(), false)
    }
}

impl Command {
    fn new(words: Vec<String>, keys: Vec<String>, tells_time: bool) -> Self {
        Self {
            words: words.into_iter().map(String::into_bytes).collect(),
            keys,
            tells_time,
            heeds_time: tells_time,
            fails: false,
        }
    }
}

/// Wrong in every way that the commands check, or beyond what a node allows.
const WRONG: &[&str] = &[
    "GET",
    "GET KEY KEY",
    "SET KEY",
    "SET KEY w1 NX XX",
    "SET KEY w1 PX",
    "SET KEY w1 PX soon",
    "SET KEY w1 PX 0",
    "SET KEY w1 PX -5",
    "SET KEY w1 EX 0",
    "SET KEY w1 EX 9223372036854775807",
    "SET KEY w1 PX 9223372036854775807",
    "SET KEY w1 PX 1000 EX 1",
    "SET KEY w1 NX PX 1.5",
    "SET KEY w1 BX 5",
    "SET KEY w1 NX PX 50",
    "SET KEY w1 NX EX 100000",
    "EXPIRE KEY 100000",
    "SETNX KEY",
    "DEL",
    "UNLINK",
    "EXISTS",
    "TTL",
    "PTTL KEY KEY",
    "EXPIRE KEY",
    "EXPIRE KEY soon",
    "EXPIRE KEY 9223372036854775807",
    "PEXPIRE KEY 60000 NX XX",
    "PEXPIRE KEY 60000 GT LT",
    "PEXPIRE KEY 60000 SOON",
    "GETRANGE KEY a b",
    "STRLEN",
    "MGET",
    "MSETNX KEY",
    "MSETNX KEY w1 KEY",
    "EVAL",
    "EVAL return",
    "EVAL return x KEY",
    "EVAL return -1 KEY",
    "EVAL return 2 KEY",
    "EVALSHA 0123456789012345678901234567890123456789 0",
    "EVALSHA short 0",
    "SCRIPT",
    "SCRIPT LOAD",
    "SCRIPT EXISTS",
    "SCRIPT FLUSH NOW",
    "SCRIPT SHOUT",
    "CLIENT",
    "CLIENT SHOUT",
    "CLIENT SETNAME",
    "SELECT",
    "SELECT x",
    "SELECT 99",
    "ECHO",
    "PING a b",
    "NOSUCH",
    "NOSUCH command at all",
    "HELLO 9",
    "HELLO x",
];

const CONNECTION: &[&str] = &[
    "PING",
    "ping hello",
    "ECHO hello",
    "SELECT 0",
    "CLIENT SETNAME worker-7",
    "CLIENT GETNAME",
    "client setname other",
    "SCRIPT EXISTS 0123456789012345678901234567890123456789",
    "SCRIPT EXISTS 0123456789012345678901234567890123456789 short",
];
