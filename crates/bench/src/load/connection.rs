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
    /// How many requests were sent once more on a new stream.
    reopened: u64,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let mut connection = Self {
            address,
            stream: None,
            answer: Vec::with_capacity(1024),
            reopened: 0,
        };
        connection.stream().await?;
        Ok(connection)
    }

    /// How many requests met a connection that the server had closed while nothing was under way on it, and went out on a new one.
    pub(super) fn reopened(&self) -> u64 {
        self.reopened
    }

    /// Sends a whole request and answers the status. After an error the next call starts on a new connection.
    pub(super) async fn post(&mut self, request: &[u8]) -> io::Result<u16> {
        let outcome = match tokio::time::timeout(PATIENCE, self.exchange_anew(request)).await {
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

    /// A server may close an idle connection at the very moment at which a request sets out, and no client can know: every one tries once more on
    /// a new connection, if nothing of an answer has come.
    async fn exchange_anew(&mut self, request: &[u8]) -> io::Result<Head> {
        let may_be_idle = self.stream.is_some();
        match self.exchange(request).await {
            Err(error) if may_be_idle && was_closed(&error) && self.answer.is_empty() => {
                self.stream = None;
                self.reopened += 1;
                self.exchange(request).await
            }
            outcome => outcome,
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
        self.answer.clear();
        self.stream().await?.write_all(request).await?;
        loop {
            let Self { stream, answer, .. } = self;
            let stream = stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            if stream.read_buf(answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(head) = parse_head(answer)?
                && answer.len() >= head.answer_bytes
            {
                return Ok(head);
            }
            if answer.len() > ANSWER_BYTES_MAX {
                return Err(invalid("the answer is too long"));
            }
        }
    }
}

fn was_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
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

    /// A server that closes each connection after so many answers, without saying so before; answers with how many requests it was sent.
    async fn closing(listener: tokio::net::TcpListener, answers: usize, connections: usize) -> usize {
        let mut requests = 0;
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4];
            for _ in 0..answers {
                stream.read_exact(&mut request).await.unwrap();
                requests += 1;
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .await
                    .unwrap();
            }
        }
        requests
    }

    #[tokio::test]
    async fn a_request_that_meets_a_closed_connection_goes_out_once_more() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = closing(listener, 2, 2);
        let client = async {
            let mut connection = Connection::open(address).await.unwrap();
            for _ in 0..4 {
                assert_eq!(connection.post(b"POST").await.unwrap(), 200);
            }
            connection.reopened()
        };
        let (requests, reopened) = tokio::join!(server, client);
        assert_eq!((requests, reopened), (4, 1));
    }

    #[tokio::test]
    async fn a_request_that_a_new_connection_does_not_answer_is_a_failure() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = closing(listener, 0, 2);
        let client = async {
            let mut connection = Connection::open(address).await.unwrap();
            let outcome = connection.post(b"POST").await;
            (outcome.is_err(), connection.reopened())
        };
        let (_, outcome) = tokio::join!(server, client);
        assert_eq!(outcome, (true, 1));
    }

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
