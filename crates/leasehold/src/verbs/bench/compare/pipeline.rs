//! Drives a connection that answers in the order in which it was asked: one task for all callers of the connection, and as many
//! requests on their way as there are callers.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::super::record::Record;
use super::super::schedule::Schedule;
use super::processes::unavailable;
use super::seat::{Reply, Request, Seat};
use crate::exit::Failure;

/// For what is under way at the end.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// How a system speaks.
pub(super) trait Dialect: Send + 'static {
    /// What is sent last.
    const FAREWELL: &'static [u8] = &[];

    fn write(&mut self, request: Request, seat: &Seat, out: &mut Vec<u8>);
    /// The reply to a request, once all of it is there. An error is something that the system refuses, in its words.
    fn read(&mut self, request: Request, input: &mut BytesMut) -> Result<Option<Reply>, String>;
}

/// A connection that is ready for work.
pub(super) struct Line<D> {
    pub(super) stream: TcpStream,
    pub(super) dialect: D,
}

/// Lets all connections work until the end of the schedule.
pub(super) async fn drive<D: Dialect>(
    lines: Vec<Line<D>>,
    seats: Vec<Vec<Seat>>,
    schedule: &Schedule,
) -> Result<Record, Failure> {
    let mut tasks = JoinSet::new();
    for (line, seats) in lines.into_iter().zip(seats) {
        tasks.spawn(converse(line, seats, schedule.clone()));
    }
    let all = async {
        let mut record = Record::default();
        while let Some(task) = tasks.join_next().await {
            let ended = task.map_err(|error| Failure::internal(error.to_string()))?;
            record.merge(&ended.map_err(|problem| unavailable(&problem))?);
        }
        Ok(record)
    };
    let bound = schedule.window.until.since(schedule.clock.now()) + DRAIN_MAX;
    match tokio::time::timeout(bound, all).await {
        Ok(record) => record,
        Err(_) => Err(unavailable("callers did not come to an end in time")),
    }
}

async fn converse<D: Dialect>(line: Line<D>, mut seats: Vec<Seat>, schedule: Schedule) -> Result<Record, String> {
    let Line { mut stream, mut dialect } = line;
    let mut record = Record::default();
    record.open(schedule.window);
    let (mut out, mut input) = (Vec::new(), BytesMut::with_capacity(64 << 10));
    // Who is answered next, and what was asked.
    let mut asked = VecDeque::with_capacity(seats.len());
    let now = schedule.clock.now();
    for (number, seat) in seats.iter_mut().enumerate() {
        if let Some(request) = seat.begin(now, schedule.is_ending(now)) {
            dialect.write(request, seat, &mut out);
            asked.push_back((number, request));
        }
    }
    while !asked.is_empty() {
        if !out.is_empty() {
            stream.write_all(&out).await.map_err(|error| error.to_string())?;
            out.clear();
        }
        let read = stream.read_buf(&mut input).await.map_err(|error| error.to_string())?;
        if read == 0 {
            return Err("the connection was closed".to_owned());
        }
        let now = schedule.clock.now();
        let ending = schedule.is_ending(now);
        while let Some((number, request)) = asked.front().copied()
            && let Some(reply) = dialect.read(request, &mut input)?
        {
            asked.pop_front();
            if let Some(next) = seats[number].next(&reply, now, ending, &mut record) {
                dialect.write(next, &seats[number], &mut out);
                asked.push_back((number, next));
            }
        }
    }
    // The server may close it as it likes now.
    let _ = stream.write_all(D::FAREWELL).await;
    let _ = stream.shutdown().await;
    Ok(record)
}
