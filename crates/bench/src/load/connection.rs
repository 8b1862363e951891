//! One keep-alive HTTP/1.1 connection that knows just enough to post a webhook and read the answer.
//!
//! A whole HTTP client would cost more than the servers it measures. This one writes a finished request, and of the answer reads the
//! status and where it ends.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Meta's patience is shorter; whoever takes this long has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// No server of the comparison says more than this.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A connection that opens itself again after a failure.
#[derive(Debug)]
pub(super) struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    answer: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let mut connection = Self {
            address,
            stream: None,
            answer: Vec::with_capacity(1024),
        };
        connection.stream().await?;
        Ok(connection)
    }

    /// Sends a whole request and answers the status. After an error the next call starts on a new connection.
    pub(super) async fn post(&mut self, request: &[u8]) -> io::Result<u16> {
        let outcome = match tokio::time::timeout(PATIENCE, self.exchange(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        match outcome {
            Ok(Head { status, closes, .. }) => {
                if closes {
                    self.stream = None;
                }
                Ok(status)
            }
            Err(error) => {
                self.stream = None;
                Err(error)
            }
        }
    }

    async fn stream(&mut self) -> io::Result<&mut TcpStream> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            self.stream = Some(stream);
        }
        self.stream.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    async fn exchange(&mut self, request: &[u8]) -> io::Result<Head> {
        let mut answer = std::mem::take(&mut self.answer);
        answer.clear();
        let stream = self.stream().await?;
        stream.write_all(request).await?;
        let head = loop {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(head) = parse_head(&answer)?
                && answer.len() >= head.answer_bytes
            {
                break head;
            }
            if answer.len() > ANSWER_BYTES_MAX {
                return Err(invalid("the answer is too long"));
            }
        };
        self.answer = answer;
        Ok(head)
    }
}

/// What has to be known of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// Length of head and body together.
    answer_bytes: usize,
    /// Whether the server closes the connection after it.
    closes: bool,
}

/// `None` until the whole head is there. An answer that does not name its length is an error: its end could not be seen.
fn parse_head(answer: &[u8]) -> io::Result<Option<Head>> {
    let Some(head_bytes) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&answer[..head_bytes]).map_err(|_| invalid("the answer's head is not text"))?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|line| line.get(..3))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| invalid("the answer has no status"))?;

    let mut body_bytes = None;
    let mut closes = false;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            return Err(invalid("a header has no colon"));
        };
        if name.eq_ignore_ascii_case("content-length") {
            let bytes: usize = value.trim().parse().map_err(|_| invalid("the length is no number"))?;
            body_bytes = Some(bytes);
        } else if name.eq_ignore_ascii_case("connection") {
            closes = value.trim().eq_ignore_ascii_case("close");
        }
    }
    let body_bytes = body_bytes.ok_or_else(|| invalid("the answer names no length"))?;
    Ok(Some(Head {
        status,
        answer_bytes: (head_bytes + 4).saturating_add(body_bytes),
        closes,
    }))
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_to_its_end_and_no_further() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\nconnection: close\r\n\r\n{}";
        let head = parse_head(answer).unwrap().unwrap();
        assert_eq!(
            head,
            Head {
                status: 503,
                answer_bytes: answer.len(),
                closes: true,
            }
        );
    }

    #[test]
    fn half_a_head_is_not_an_answer_yet() {
        assert_eq!(parse_head(b"HTTP/1.1 200 OK\r\ncontent-le").unwrap(), None);
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for broken in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 2\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        ] {
            assert!(parse_head(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
