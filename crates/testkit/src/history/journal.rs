//! A history that a killed process leaves behind: every send and every answer is in a file before anything follows from it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use leasehold_proto::v1::{self, answer::Answer, operation::Operation};
use prost::Message;

use super::{Record, Sink};
use crate::clock::Moment;
use crate::workload::Wire;

const SENT: u8 = 1;
const ANSWERED: u8 = 2;
const RECORD: u8 = 3;
/// Kind, worker, number, moment.
const HEAD_BYTES: usize = 1 + 4 + 8 + 8;
/// A frame that claims to be longer was torn.
const FRAME_BYTES_MAX: usize = 16 << 20;

/// An append-only file. Cheap to clone. A write that fails ends the process: a history with a hole is worth nothing.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Mutex<File>>);

impl Journal {
    /// A new file.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(File::options().create_new(true).append(true).open(path)?))))
    }

    /// An operation is about to be sent. What `number` gives is its number: drawn here, so that the file is in their order.
    pub fn sent(&self, worker: u32, number: impl FnOnce() -> u64, operation: &Operation) -> u64 {
        let operation = v1::Operation { id: 0, timeout_ms: 0, operation: Some(operation.clone()) };
        let body = operation.encode_to_vec();
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = number();
        append(&mut file, SENT, worker, number, Moment::now(), &body);
        number
    }

    /// It was answered.
    pub fn answered(&self, worker: u32, number: u64, answer: &Answer) {
        let now = Moment::now();
        let body = v1::Answer { id: 0, answer: Some(answer.clone()) }.encode_to_vec();
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        append(&mut file, ANSWERED, worker, number, now, &body);
    }

    /// Reads what a process left behind: calls without an answer are unknown. A last frame that was torn never was.
    pub fn read(path: &Path) -> io::Result<Vec<Record>> {
        let mut from = BufReader::new(File::open(path)?);
        let (mut wires, mut records) = (BTreeMap::<u32, Wire>::new(), Vec::new());
        while let Some(frame) = Frame::read(&mut from)? {
            let wire = || Wire::new(frame.worker);
            let bad = |error: &dyn std::error::Error| io::Error::other(format!("{}: {error}", path.display()));
            match frame.kind {
                SENT => {
                    let operation = v1::Operation::decode(&*frame.body).map_err(|error| bad(&error))?;
                    if let Some(operation) = operation.operation {
                        wires.entry(frame.worker).or_insert_with(wire).put_sent(frame.at, operation);
                    }
                }
                ANSWERED => {
                    let answer = v1::Answer::decode(&*frame.body).map_err(|error| bad(&error))?;
                    if let Some(answer) = answer.answer {
                        wires.entry(frame.worker).or_insert_with(wire).put_answer(frame.number, frame.at, answer);
                    }
                }
                _ => records.push(serde_json::from_slice(&frame.body)?),
            }
        }
        records.extend(wires.values().flat_map(Wire::take));
        Ok(records)
    }
}

impl Sink for Journal {
    fn push(&self, record: Record) {
        let body = serde_json::to_vec(&record).expect("a record is JSON");
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        append(&mut file, RECORD, record.worker, 0, Moment::now(), &body);
    }
}

fn append(file: &mut File, kind: u8, worker: u32, number: u64, at: Moment, body: &[u8]) {
    let length = u32::try_from(body.len()).expect("a frame is shorter than its bound");
    let mut frame = Vec::with_capacity(4 + HEAD_BYTES + body.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.push(kind);
    frame.extend_from_slice(&worker.to_le_bytes());
    frame.extend_from_slice(&number.to_le_bytes());
    frame.extend_from_slice(&at.0.to_le_bytes());
    frame.extend_from_slice(body);
    file.write_all(&frame).expect("the history can be written");
}

struct Frame {
    kind: u8,
    worker: u32,
    number: u64,
    at: Moment,
    body: Vec<u8>,
}

impl Frame {
    /// None at the end, be it torn or not.
    fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut head = [0; 4 + HEAD_BYTES];
        if !fill(from, &mut head)? {
            return Ok(None);
        }
        let number_at = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let word_at = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let length = word_at(0) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::other(format!("a frame of {length} bytes")));
        }
        let mut body = vec![0; length];
        if !fill(from, &mut body)? {
            return Ok(None);
        }
        Ok(Some(Self { kind: head[4], worker: word_at(5), number: number_at(9), at: Moment(number_at(17)), body }))
    }
}

/// False: it ended before.
fn fill(from: &mut impl Read, to: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Call, Response};

    fn get(name: &str) -> Operation {
        Operation::Get(v1::GetRequest { name: name.into(), ..Default::default() })
    }

    #[test]
    fn a_torn_journal_keeps_what_was_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = Journal::create(&path).unwrap();
        assert_eq!(journal.sent(4, || 0, &get("a")), 0);
        let lock = v1::LockInfo { revision: 7, ..Default::default() };
        journal.answered(4, 0, &Answer::Get(v1::GetResponse { lock: Some(lock) }));
        journal.sent(4, || 1, &get("b"));
        journal.sent(4, || 2, &get("c"));
        let length = std::fs::metadata(&path).unwrap().len();
        File::options().write(true).open(&path).unwrap().set_len(length - 1).unwrap();
        let records = Journal::read(&path).unwrap();
        assert_eq!(records.len(), 2, "the last send was torn: {records:?}");
        assert!(records.iter().all(|record| record.worker == 4 && record.call == Call::Get));
        assert!(matches!(records[0].response, Response::Seen { revision: 7, .. }));
        assert_eq!((&records[1].response, records[1].complete), (&Response::Unknown, None));
    }

    #[test]
    fn records_of_other_makers_are_kept_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let journal = Journal::create(&path).unwrap();
        let record = Record {
            worker: 1,
            lock: "default/a".into(),
            invoke: Moment(5),
            first_send: None,
            complete: Some(Moment(5)),
            call: Call::Believe { token: 9 },
            response: Response::Held,
        };
        journal.push(record.clone());
        assert_eq!(Journal::read(&path).unwrap(), [record]);
    }
}
