//! The client's end of a `Connect` stream.

use std::collections::{HashMap, VecDeque};

use leasehold_proto::v1;
use leasehold_proto::v1::answer::Answer as Body;
use leasehold_proto::v1::operation::Operation as Asked;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::server::{Server, soon};

pub(crate) struct Stream {
    pub(crate) requests: mpsc::Sender<v1::ConnectRequest>,
    pub(crate) answers: Streaming<v1::ConnectResponse>,
    early: HashMap<u64, VecDeque<Body>>,
}

impl Stream {
    pub(crate) async fn open(server: &Server) -> Self {
        let (requests, receiver) = mpsc::channel(64);
        let answers = server.locks().connect(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        Self { requests, answers, early: HashMap::new() }
    }

    pub(crate) async fn ask(&self, operations: Vec<(u64, Asked)>) {
        let operations = operations
            .into_iter()
            .map(|(id, asked)| v1::Operation { id, timeout_ms: 0, operation: Some(asked) })
            .collect();
        self.requests.send(v1::ConnectRequest { operations }).await.unwrap();
    }

    /// The next answer to one operation, whatever else comes before it. Only watches have more than one.
    pub(crate) async fn answer(&mut self, id: u64) -> Body {
        loop {
            if let Some(body) = self.early.get_mut(&id).and_then(VecDeque::pop_front) {
                return body;
            }
            let message = soon(self.answers.message()).await.unwrap().expect("the stream goes on");
            for answer in message.answers {
                let body = answer.answer.unwrap();
                let early = self.early.entry(answer.id).or_default();
                assert!(early.is_empty() || matches!(early.back(), Some(Body::Watch(_))), "answered twice");
                early.push_back(body);
            }
        }
    }

    pub(crate) async fn error(&mut self, id: u64) -> v1::Error {
        match self.answer(id).await {
            Body::Error(error) => error,
            other => panic!("no error: {other:?}"),
        }
    }

    /// What is left unread of what came.
    pub(crate) fn unread(&self, id: u64) -> usize {
        self.early.get(&id).map_or(0, VecDeque::len)
    }
}
