//! The server that gives the same bytes as another one once did, head and body: the least that anybody can do for the same answer.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What the server writes by itself, and what belongs to one connection.
const OWN_HEADERS: [&str; 4] = ["connection", "content-length", "date", "transfer-encoding"];

#[derive(Debug, Clone)]
struct Answer {
    headers: HeaderMap,
    body: Bytes,
}

/// Asks for `path` once, and serves what came there.
pub async fn router(of: SocketAddr, path: &str) -> anyhow::Result<Router> {
    let mut stream = TcpStream::connect(of).await?;
    stream
        .write_all(format!("GET {path} HTTP/1.0\r\nhost: bench\r\n\r\n").as_bytes())
        .await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = parse(&answer).with_context(|| format!("{of} gave no answer for {path}"))?;
    Ok(Router::new().route(path, get(serve)).with_state(answer))
}

fn parse(answer: &[u8]) -> anyhow::Result<Answer> {
    let text = std::str::from_utf8(answer)?;
    let (head, body) = text.split_once("\r\n\r\n").context("it has no end of its head")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    ensure!(status.contains(" 200"), "it is {status}");
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if !OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            let name = HeaderName::from_bytes(name.as_bytes())?;
            headers.insert(name, HeaderValue::from_str(value.trim())?);
        }
    }
    Ok(Answer {
        headers,
        body: Bytes::copy_from_slice(body.as_bytes()),
    })
}

async fn serve(State(answer): State<Answer>) -> Response {
    (answer.headers, answer.body).into_response()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn head_and_body_are_kept_as_they_came() {
        let answer = parse(b"HTTP/1.1 200 OK\r\nETag: \"a\"\r\ndate: today\r\ncontent-length: 2\r\n\r\n{}").unwrap();
        assert_eq!(answer.headers.len(), 1);
        assert_eq!(answer.headers["etag"], "\"a\"");
        assert_eq!(answer.body, "{}");
        assert!(parse(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").is_err());
        assert!(parse(b"nothing").is_err());
    }
}
