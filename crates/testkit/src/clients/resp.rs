//! A connection that speaks RESP and gives replies back byte by byte as they came, in either version.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Most bytes of one reply.
const REPLY_BYTES_MAX: usize = 8 << 20;
/// How deep arrays may lie in one another.
const DEPTH_MAX: usize = 32;
/// How long one answer may take: longer than a node holds a call without a leader.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// A connection to a server, or to what stands for one.
#[derive(Debug)]
pub struct RespConnection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What of `buffer` was given out already.
    taken: usize,
}

impl RespConnection {
    /// Connects.
    pub async fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| address.to_owned())?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new(), taken: 0 })
    }

    /// One command and its reply.
    pub async fn call<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Result<Vec<u8>> {
        self.send(&encoded(words)).await?;
        self.reply().await
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// The next whole reply, as it came.
    pub async fn reply(&mut self) -> Result<Vec<u8>> {
        tokio::time::timeout(ANSWER_MAX, self.next_reply()).await.context("no reply in time")?
    }

    async fn next_reply(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(length) = reply_length(&self.buffer[self.taken..])? {
                let reply = self.buffer[self.taken..self.taken + length].to_vec();
                self.taken += length;
                if self.taken == self.buffer.len() {
                    self.buffer.clear();
                    self.taken = 0;
                }
                return Ok(reply);
            }
            let waiting = String::from_utf8_lossy(&self.buffer[self.taken..]).into_owned();
            ensure!(waiting.len() < REPLY_BYTES_MAX, "a reply has more than {REPLY_BYTES_MAX} bytes");
            let read = self.stream.read_buf(&mut self.buffer).await?;
            ensure!(read > 0, "the connection was closed after {waiting:?}");
        }
    }
}

/// A command as a client sends it.
#[must_use]
pub fn encoded<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// How many of these bytes are the first whole reply; None when it goes on.
pub fn reply_length(bytes: &[u8]) -> Result<Option<usize>> {
    frame_length(bytes, 0)
}

fn frame_length(bytes: &[u8], depth: usize) -> Result<Option<usize>> {
    ensure!(depth <= DEPTH_MAX, "a reply is nested deeper than {DEPTH_MAX}");
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let (line, head) = (&bytes[..end], end + 2);
    let number = || -> Result<i64> { Ok(std::str::from_utf8(&line[1..])?.parse()?) };
    let elements = match line.first() {
        Some(b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(') => return Ok(Some(head)),
        Some(b'$' | b'!' | b'=') => {
            let Ok(length) = usize::try_from(number()?) else { return Ok(Some(head)) };
            let whole = head + length + 2;
            return Ok((bytes.len() >= whole).then_some(whole));
        }
        Some(b'*' | b'~' | b'>') => number()?,
        Some(b'%') => number()? * 2,
        other => bail!("{other:?} begins no reply: {:?}", String::from_utf8_lossy(line)),
    };
    let mut whole = head;
    for _ in 0..elements {
        let Some(length) = frame_length(&bytes[whole..], depth + 1)? else { return Ok(None) };
        whole += length;
    }
    Ok(Some(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_whole_at_its_last_byte_and_not_before() {
        let replies: [&[u8]; 9] = [
            b"+OK\r\n",
            b"-ERR no\r\n",
            b":12\r\n",
            b"$-1\r\n",
            b"$3\r\na\r\n\r\n",
            b"*-1\r\n",
            b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
            b"%1\r\n+a\r\n_\r\n",
            b"*0\r\n",
        ];
        for reply in replies {
            for cut in 0..reply.len() {
                assert_eq!(reply_length(&reply[..cut]).unwrap(), None, "{cut} of {reply:?}");
            }
            let more = [reply, b"+NEXT\r\n"].concat();
            assert_eq!(reply_length(&more).unwrap(), Some(reply.len()), "{reply:?}");
        }
        assert!(reply_length(b"HTTP/1.1 200\r\n").is_err());
    }

    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        assert_eq!(encoded(&["GET", "a\r\n"]), b"*2\r\n$3\r\nGET\r\n$3\r\na\r\n\r\n");
    }
}
