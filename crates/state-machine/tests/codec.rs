//! Bytes that are not ours: refused, without a panic and without much memory. A process of its own, as it measures.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use leasehold_state_machine::codec::{self, DecodeError};
use leasehold_state_machine::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

fn sample() -> Command {
    Command {
        principal: Some("somebody".into()),
        not_after: Some(LogTime(123_456_789)),
        operation: Operation::Acquire(Acquire {
            request: RequestId { client: u64::MAX, counter: 300 },
            attempt: 2,
            lowest_unanswered: 299,
            namespace: "default".into(),
            locks: vec![
                LockRequest { name: "a".into(), mode: Mode::Exclusive },
                LockRequest { name: "größer".into(), mode: Mode::Shared },
                LockRequest { name: "c".into(), mode: Mode::Permits { permits: 2, limit: u32::MAX } },
            ],
            owner: "user@host:1".into(),
            metadata: "m".repeat(300),
            lease: LeaseRequest::Own { ttl_ms: 30_000 },
            wait: Wait::For { wait_ms: 1 },
            actor: Some("task 1".into()),
            lock_delay_ms: 5,
            value: Bytes::from_static(b"\0value"),
        }),
    }
}

fn operations() -> Vec<Operation> {
    let Operation::Acquire(acquire) = sample().operation else { unreachable!() };
    let request = acquire.request;
    vec![
        Operation::Found(Found {
            cluster: ClusterId(u128::MAX),
            counter_start: 1 << 52,
            limits: Limits::default(),
            level: LEVEL_MAX,
        }),
        Operation::Acquire(Acquire { wait: Wait::Try, ..acquire.clone() }),
        Operation::Acquire(Acquire { lease: LeaseRequest::Session { session: LeaseId(1 << 64) }, ..acquire.clone() }),
        Operation::Acquire(Acquire { lease: LeaseRequest::Convert { token: FencingToken(9) }, actor: None, ..acquire }),
        Operation::CancelAcquire(CancelAcquire { request, attempt: u32::MAX }),
        Operation::Release(Release {
            namespace: "n".into(),
            locks: vec![HeldLock { name: "l".into(), token: FencingToken(7) }; 2],
            all_or_nothing: true,
        }),
        Operation::Renew(Renew {
            leases: vec![RenewLease { lease: LeaseId(u128::MAX), ttl_ms: Some(1), exact: Some(FencingToken(3)) }; 3],
            all_or_nothing: true,
        }),
        Operation::CloseLease(CloseLease { lease: LeaseId(0) }),
        Operation::Tick,
        Operation::SetLimits(SetLimits { namespace: None, limits: Limits::default() }),
        Operation::SetLevel(SetLevel { level: 1 }),
        Operation::OpenSession(OpenSession {
            session: LeaseId(u128::MAX),
            namespace: "n".into(),
            ttl_ms: 30_000,
            owner: "user@host:1".into(),
            metadata: "m".into(),
        }),
        Operation::SetValue(SetValue {
            namespace: "n".into(),
            name: "l".into(),
            token: FencingToken(7),
            version: u64::MAX,
            value: Bytes::from_static(b"v"),
        }),
        Operation::ForceRelease(ForceRelease {
            namespace: "n".into(),
            name: "l".into(),
            token: FencingToken(7),
            reason: "why".into(),
        }),
    ]
}

fn sample_batch() -> (Batch, Bytes) {
    let mut commands = vec![sample()];
    commands.extend(operations().into_iter().map(|operation| Command { principal: None, not_after: None, operation }));
    let encoded: Vec<Bytes> = commands.iter().map(codec::encode_command).collect();
    let batch = Batch { at: LogTime(99), stamped_by: LeaderStamp { term: 3, node: 2 }, commands };
    let bytes = codec::encode_batch(batch.at, batch.stamped_by, &encoded);
    (batch, bytes)
}

#[test]
fn every_operation_survives_its_bytes() {
    let (batch, bytes) = sample_batch();
    assert_eq!(codec::decode_batch(&bytes).unwrap(), batch);
}

#[test]
fn another_version_is_refused_by_number() {
    let mut command = codec::encode_command(&sample()).to_vec();
    command[0] = codec::VERSION + 1;
    let unknown = DecodeError::Version { found: codec::VERSION + 1 };
    assert_eq!(codec::decode_command(&command), Err(unknown.clone()));
    let mut batch = sample_batch().1.to_vec();
    batch[0] = codec::VERSION + 1;
    assert_eq!(codec::decode_batch(&batch), Err(unknown));
    assert_eq!(codec::decode_command(&[]), Err(DecodeError::Empty));
    assert_eq!(codec::decode_batch(&[]), Err(DecodeError::Empty));
}

#[test]
fn trailing_bytes_are_refused() {
    let mut command = codec::encode_command(&sample()).to_vec();
    command.push(0);
    assert_eq!(codec::decode_command(&command), Err(DecodeError::Trailing(1)));
    let mut batch = sample_batch().1.to_vec();
    batch.extend([0; 5]);
    assert_eq!(codec::decode_batch(&batch), Err(DecodeError::Trailing(5)));
}

#[test]
fn every_truncation_is_refused() {
    let command = codec::encode_command(&sample());
    for length in 0..command.len() {
        assert!(codec::decode_command(&command[..length]).is_err(), "{length} bytes");
    }
    let batch = sample_batch().1;
    for length in 0..batch.len() {
        assert!(codec::decode_batch(&batch[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn announced_sizes_are_not_believed() {
    let before_kib = peak_kib();
    let huge_batch = vec![0; codec::BATCH_BYTES_MAX + 1];
    assert!(matches!(codec::decode_batch(&huge_batch), Err(DecodeError::TooLarge { .. })));
    // A batch that announces 2^32 - 1 commands, and a text, a list and a vector that announce 2^63 items.
    let mut many = codec::encode_batch(LogTime(0), LeaderStamp::default(), &[]).to_vec();
    let count = many.len() - 4;
    many[count..].fill(0xff);
    assert!(codec::decode_batch(&many).is_err());
    let announces = |prefix: &[u8]| [&[codec::VERSION][..], prefix, &[253], &(1u64 << 63).to_le_bytes()].concat();
    assert!(codec::decode::<String>(&announces(&[])).is_err());
    assert!(codec::decode::<Vec<LockRequest>>(&announces(&[])).is_err());
    assert!(codec::decode::<Vec<u128>>(&announces(&[])).is_err());
    assert!(codec::decode::<Renew>(&announces(&[])).is_err());
    // Just below the bound, where the length itself is credible.
    let credible = [&[codec::VERSION, 252][..], &(15u32 << 20).to_le_bytes()].concat();
    assert!(codec::decode::<Vec<u8>>(&credible).is_err());
    assert!(codec::decode::<Vec<LockRequest>>(&credible).is_err());
    assert!(peak_kib() - before_kib < 64 << 10, "{} KiB", peak_kib() - before_kib);
}

#[test]
fn random_and_damaged_bytes_are_no_harm() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (_, batch) = sample_batch();
    let mut log = StateMachine::new();
    log.apply_membership(EntryId { index: 1, ..EntryId::default() }, vec![1; 40]);
    let rows = log.rows();
    for _ in 0..50_000 {
        let mut bytes = vec![0; random.random_range(0..200)];
        random.fill(&mut bytes[..]);
        if let Some(first) = bytes.first_mut()
            && random.random_bool(0.9)
        {
            *first = codec::VERSION;
        }
        let _ = codec::decode_command(&bytes);
        let _ = codec::decode_batch(&bytes);
        let _ = decode_head(&bytes);
        let mut damaged = batch.to_vec();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..damaged.len());
            damaged[at] = random.random();
        }
        let _ = codec::decode_batch(&damaged);
        let key = vec![random.random_range(0..10), 1, 2, 3, 4, 5, 6, 7, 8];
        let _ = StateMachine::from_rows(rows.iter().cloned().chain([(key, bytes)]));
    }
}

/// Greatest resident size of this process so far.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
