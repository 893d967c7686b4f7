//! What the fuzz target of this crate does with an input (`tests/fuzz`), and inputs made from real data.
//!
//! There for tests and for builds with `--cfg fuzzing` alone: nothing of it is in the product.

use std::sync::Arc;
use std::time::Duration;

use leasehold_proto::v1::{self, answer::Answer, operation::Operation};
use prost::Message;
use tokio::sync::mpsc;

use crate::client::Client;
use crate::endpoints::Endpoints;
use crate::error::Error;
use crate::ids::{LeaseId, SessionId, Token};
use crate::inner::Inner;
use crate::options::ClientOptions;
use crate::runtime::within;
use crate::stream::Stream;
use crate::types::Convert;
use crate::{Wait, WatchTarget};

/// Name, what is done with an input (whether it was understood), and seeds.
pub type Target = (&'static str, fn(&[u8]) -> bool, fn() -> Vec<Vec<u8>>);

/// The targets of this crate.
pub const TARGETS: &[Target] = &[("answers", answers, seeds_of_answers)];

/// A call that has not come to an end by then waits for something that no answer brings.
const CALL_MAX: Duration = Duration::from_millis(if cfg!(fuzzing) { 2 } else { 500 });
const SESSION: &str = "00112233445566778899aabbccddeeff";
/// An answer under an odd id goes to the watch that is open, others to the operation that was sent last.
const TO_WATCH: u64 = 1;

/// A call, as the first byte says, and what a node answers to all that it sends, one after the other.
fn answers(data: &[u8]) -> bool {
    let Some((kind, bytes)) = data.split_first() else { return false };
    let Ok(message) = v1::ConnectResponse::decode(bytes) else { return false };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let (stream, sent) = Stream::new(0, None);
        let stream = Arc::new(stream);
        let options = ClientOptions { call_timeout: CALL_MAX, ..ClientOptions::new(["127.0.0.1:1"]) };
        let client = Client::of(Inner::over(options, |_, _, _| Endpoints::of_one(stream.clone())));
        let answering = answer(&stream, sent, message.answers);
        let called = async {
            tokio::select! {
                result = call(&client, *kind) => result.is_ok(),
                () = answering => false,
            }
        };
        within(CALL_MAX, called).await.unwrap_or(false)
    })
}

async fn answer(stream: &Stream, mut sent: mpsc::Receiver<v1::Operation>, answers: Vec<v1::Answer>) {
    let (mut watch, mut last) = (None, None);
    for v1::Answer { id, answer } in answers {
        if last.is_none() || id != TO_WATCH {
            let Some(operation) = sent.recv().await else { return };
            if matches!(operation.operation, Some(Operation::Watch(_))) {
                watch = Some(operation.id);
            }
            last = Some(operation.id);
        }
        let to = if id == TO_WATCH { watch } else { last };
        stream.deliver(v1::ConnectResponse { answers: vec![v1::Answer { id: to.unwrap_or(id), answer }] });
        // Whoever hears of it does something first.
        tokio::task::yield_now().await;
    }
    // What is sent from here on is not answered.
    while sent.recv().await.is_some() {}
}

async fn call(client: &Client, kind: u8) -> Result<(), Error> {
    let session: SessionId = SESSION.parse()?;
    let (token, lease) = (Token(5), LeaseId::from("0000000000000009"));
    match kind % 18 {
        0 => drop(client.raw(["a"]).run(Wait::Try).await?),
        1 => drop(client.raw(["a", "b"]).session(session).run(Wait::For(CALL_MAX)).await?),
        2 => {
            let guard = client.lock("a").acquire().await?;
            let _ = (guard.token(), guard.loss());
            guard.release().await?;
        }
        3 => {
            let guard = client.lock("a").shared().own_lease().acquire().await?;
            drop(guard.try_upgrade().await);
        }
        4 => drop(client.release("a", token).await?),
        5 => drop(client.release_all(&[("a".into(), token), ("b".into(), token)], true).await?),
        6 => {
            client.renew(&lease, Some(Duration::from_secs(1))).await?;
        }
        7 => drop(client.close_lease(&lease).await?),
        8 => {
            let session = client.session().open().await?;
            let _ = session.close().await?;
        }
        9 => drop(client.convert_raw("a", token, Convert::ToShared, Wait::Try).await?),
        10 => drop(client.set_value("a", token, 0, vec![1]).await?),
        11 => drop(client.force_release("a", token, "why").await?),
        12 => drop(client.get("a").await?),
        13 => drop(client.check_token("a", token).await?),
        14 => drop(client.list("a").await?),
        15 => drop(client.get_session(session).await?),
        16 => drop(client.list_sessions().await?),
        _ => {
            let mut watch = client.watch(WatchTarget::Lock("a".into()));
            for _ in 0..3 {
                let Some(item) = watch.next().await else { break };
                item?;
                let _ = watch.revision();
            }
        }
    }
    Ok(())
}

fn seeds_of_answers() -> Vec<Vec<u8>> {
    let grant =
        |name: &str, mode: v1::Mode| v1::Grant { name: name.into(), mode: mode.into(), token: 5, ..Default::default() };
    let granted = |lease: &str, confirm, grants| {
        let granted = v1::Granted { lease: lease.into(), grants, ttl_ms: 30_000, confirm, forced: 0 };
        Answer::Acquire(v1::AcquireResponse { result: Some(v1::acquire_response::Result::Granted(granted)) })
    };
    let released = v1::ReleasedLock { released: true, ..Default::default() };
    let renewed = v1::RenewedLease { alive: true, ttl_ms: 1_000, ..Default::default() };
    let revision = Some(v1::Revision { index: 4, ordinal: 1 });
    let holder = v1::Holder { token: 5, owner: "o".into(), left_ms: 5, held_ms: 1, ..Default::default() };
    let held = v1::Held { name: "a".into(), holders: vec![holder.clone()], waiters: 1, ..Default::default() };
    let held = Answer::Acquire(v1::AcquireResponse { result: Some(v1::acquire_response::Result::Held(held)) });
    let info = v1::LockInfo { name: "a".into(), holders: vec![holder], revision: 4, ..Default::default() };
    let event = v1::WatchEvent { revision, name: "a".into(), token: 5, ..Default::default() };
    let watched = v1::WatchResponse { from: revision, events: vec![event.clone(), event], progress: revision };
    let again = v1::Error { code: 14, reason: "NO_LEADER".into(), retry_after_ms: 1, ..Default::default() };
    let calls: [(u8, Vec<(u64, Answer)>); 15] = [
        (0, vec![(0, granted("9", false, vec![grant("a", v1::Mode::Exclusive)]))]),
        (0, vec![(0, held)]),
        (
            0,
            vec![
                (0, granted("9", true, vec![grant("a", v1::Mode::Exclusive)])),
                (0, Answer::Renew(v1::RenewResponse { leases: vec![renewed.clone()] })),
            ],
        ),
        (1, vec![(0, granted(SESSION, false, vec![grant("a", v1::Mode::Exclusive), grant("b", v1::Mode::Exclusive)]))]),
        (4, vec![(0, Answer::Release(v1::ReleaseResponse { released: true, ..Default::default() }))]),
        (5, vec![(0, Answer::Release(v1::ReleaseResponse { locks: vec![released; 2], ..Default::default() }))]),
        (6, vec![(0, Answer::Renew(v1::RenewResponse { leases: vec![renewed] }))]),
        (7, vec![(0, Answer::CloseLease(v1::CloseLeaseResponse { closed: true, ..Default::default() }))]),
        (10, vec![(0, Answer::SetValue(v1::SetValueResponse { set: true, version: 1, ..Default::default() }))]),
        (11, vec![(0, Answer::ForceRelease(v1::ForceReleaseResponse { released: true, ..Default::default() }))]),
        (12, vec![(0, Answer::Error(again)), (0, Answer::Get(v1::GetResponse { lock: Some(info.clone()) }))]),
        (13, vec![(0, Answer::CheckToken(v1::CheckTokenResponse::default()))]),
        (14, vec![(0, Answer::List(v1::ListResponse { locks: vec![info], ..Default::default() }))]),
        (15, vec![(0, Answer::GetSession(v1::GetSessionResponse::default()))]),
        (17, vec![(TO_WATCH, Answer::Watch(watched))]),
    ];
    let seed = |(kind, answers): (u8, Vec<(u64, Answer)>)| {
        let answers = answers.into_iter().map(|(id, answer)| v1::Answer { id, answer: Some(answer) });
        [vec![kind], v1::ConnectResponse { answers: answers.collect() }.encode_to_vec()].concat()
    };
    calls.into_iter().map(seed).collect()
}

#[cfg(test)]
#[path = "../../../tests/fuzz/src/replay.rs"]
mod replay;

#[test]
fn kept_inputs_of_the_fuzz_targets_do_no_harm() {
    let fuzz_dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz");
    replay::replay(&fuzz_dir, TARGETS);
}
