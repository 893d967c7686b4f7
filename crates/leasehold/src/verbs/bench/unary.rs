//! The same callers on unary calls: a task for each, many calls on one connection.

use std::sync::{Arc, Mutex, PoisonError};

use leasehold_client::clock::Moment;
use leasehold_proto::v1::Error;
use leasehold_proto::v1::answer::Answer;
use leasehold_proto::v1::lock_service_client::LockServiceClient;
use leasehold_proto::v1::operation::Operation as Asked;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Channel;

use super::caller::{Caller, Context, Phase, RETRY_AFTER, Step};
use super::connection::client;
use super::lane::{Lane, refused};
use super::record::Record;
use super::schedule::{Schedule, sleep_until};

impl Lane {
    /// Lets every caller go through a phase, with unary calls.
    pub(super) async fn drive_unary(
        &mut self,
        phase: Phase,
        schedule: &Schedule,
        deadline: Moment,
    ) -> Result<(), String> {
        let record = Arc::new(Mutex::new(std::mem::take(&mut self.record)));
        let mut tasks = JoinSet::new();
        for (number, caller) in std::mem::take(&mut self.callers).into_iter().enumerate() {
            let (record, schedule, client) = (Arc::clone(&record), schedule.clone(), client(self.channel.clone()));
            tasks.spawn(async move {
                let mut caller = caller;
                let ended = go_through(&mut *caller, client, phase, &schedule, &record).await;
                (number, caller, ended)
            });
        }
        let mut ended = Ok(());
        let mut back = Vec::with_capacity(tasks.len());
        let mut late = std::pin::pin!(sleep_until(&schedule.clock, deadline));
        loop {
            tokio::select! {
                task = tasks.join_next() => match task {
                    None => break,
                    Some(Ok((number, caller, result))) => {
                        back.push((number, caller));
                        ended = ended.and(result);
                    }
                    Some(Err(error)) => ended = Err(format!("a caller ended: {error}")),
                },
                () = &mut late => {
                    ended = Err(format!("{} callers did not come to an end in time", tasks.len()));
                    break;
                }
            }
        }
        drop(tasks);
        back.sort_unstable_by_key(|(number, _)| *number);
        self.callers = back.into_iter().map(|(_, caller)| caller).collect();
        self.record = std::mem::take(&mut *record.lock().unwrap_or_else(PoisonError::into_inner));
        ended
    }
}

async fn go_through(
    caller: &mut dyn Caller,
    mut client: LockServiceClient<Channel>,
    phase: Phase,
    schedule: &Schedule,
    record: &Mutex<Record>,
) -> Result<(), String> {
    let mut answer = None;
    loop {
        let step = {
            let now = schedule.clock.now();
            let ending = phase == Phase::Run && schedule.is_ending(now);
            let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
            caller.step(&mut Context { phase, now, ending, record: &mut record }, answer.take())
        };
        match step {
            Step::Done => return Ok(()),
            Step::At(moment) => sleep_until(&schedule.clock, moment).await,
            Step::Send(operation) => match call(&mut client, operation).await {
                Ok(body) => answer = Some(body),
                Err(status) => {
                    let error =
                        Error { code: status.code().into(), message: status.message().to_owned(), ..Error::default() };
                    refused(&error, &mut record.lock().unwrap_or_else(PoisonError::into_inner))?;
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            },
        }
    }
}

/// The operations that callers send.
async fn call(client: &mut LockServiceClient<Channel>, operation: Asked) -> Result<Answer, Status> {
    Ok(match operation {
        Asked::Acquire(request) => Answer::Acquire(client.acquire(request).await?.into_inner()),
        Asked::Release(request) => Answer::Release(client.release(request).await?.into_inner()),
        Asked::Renew(request) => Answer::Renew(client.renew(request).await?.into_inner()),
        Asked::CloseLease(request) => Answer::CloseLease(client.close_lease(request).await?.into_inner()),
        Asked::OpenSession(request) => Answer::OpenSession(client.open_session(request).await?.into_inner()),
        Asked::Get(request) => Answer::Get(client.get(request).await?.into_inner()),
        other => return Err(Status::unimplemented(format!("{other:?} is not sent by any workload"))),
    })
}
