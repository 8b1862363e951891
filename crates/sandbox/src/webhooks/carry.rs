//! How a webhook and a handshake reach the subscriber: over HTTP, or as a call within the process.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use futures_util::future::BoxFuture;
use tower::ServiceExt;

/// More of an answer isn't read; of a post's it is ignored altogether.
const ANSWER_MAX: usize = 64 * 1024;

/// Whoever is subscribed, within the process: what [`Sandbox::embed`](crate::Sandbox::embed) calls instead of opening a connection.
///
/// It gets the handshake (a GET) and each post exactly as they would stand on the wire. An error stands for a connection that failed.
/// A router is one, so that a whole program can be called.
pub trait Subscriber: Send + Sync {
    /// Answers a request.
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Bytes>, String>>;
}

impl Subscriber for Router {
    fn call(&self, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Bytes>, String>> {
        let router = self.clone();
        Box::pin(async move {
            let Ok(answer) = router.oneshot(request.map(Body::from)).await;
            let (parts, body) = answer.into_parts();
            let body = axum::body::to_bytes(body, ANSWER_MAX).await;
            body.map(|body| Response::from_parts(parts, body))
                .map_err(|error| error.to_string())
        })
    }
}

/// The way that is taken.
pub(crate) enum Carrier {
    Http(reqwest::Client),
    Within(Arc<dyn Subscriber>),
}

impl fmt::Debug for Carrier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Http(_) => "Http",
            Self::Within(_) => "Within",
        })
    }
}

impl Carrier {
    /// A client for HTTP that goes straight to whom it is told.
    pub(crate) fn http(connect_timeout: Duration) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(connect_timeout);
        client.build().map(Self::Http)
    }

    /// The answer's status and the beginning of its body; or why there is none.
    pub(crate) async fn carry(&self, request: Request<Bytes>, timeout: Duration) -> Result<(u16, Bytes), String> {
        match self {
            Self::Within(subscriber) => {
                let answer = subscriber.call(request).await?;
                Ok((answer.status().as_u16(), answer.into_body()))
            }
            Self::Http(client) => {
                let mut request = reqwest::Request::try_from(request).map_err(|error| describe(&error))?;
                *request.timeout_mut() = Some(timeout);
                let mut answer = client.execute(request).await.map_err(|error| describe(&error))?;
                let status = answer.status().as_u16();
                // Read up to a bound also where it is ignored, so that the connection can be used again.
                let mut body = Vec::new();
                while let Ok(Some(chunk)) = answer.chunk().await {
                    body.extend_from_slice(&chunk);
                    if body.len() >= ANSWER_MAX {
                        break;
                    }
                }
                Ok((status, Bytes::from(body)))
            }
        }
    }
}

impl Carrier {
    /// Fetches a file, and answers with its type and length; `None` where there is nobody to fetch from, or why it can't be had.
    pub(crate) async fn fetch(
        &self,
        link: &str,
        timeout: Duration,
        bytes_max: usize,
    ) -> Result<Option<(String, usize)>, String> {
        let Self::Http(client) = self else { return Ok(None) };
        let answer = client.get(link).timeout(timeout).send().await;
        let mut answer = answer.map_err(|error| describe(&error))?;
        if !answer.status().is_success() {
            return Err(format!("HTTP {}", answer.status()));
        }
        let mime = answer.headers().get(reqwest::header::CONTENT_TYPE);
        let mime = mime.and_then(|mime| mime.to_str().ok()).unwrap_or_default().to_owned();
        let mut length = 0;
        while let Some(chunk) = answer.chunk().await.map_err(|error| describe(&error))? {
            length += chunk.len();
            if length > bytes_max {
                return Err("it is too large".to_owned());
            }
        }
        Ok(Some((mime, length)))
    }
}

/// An HTTP error with its causes, without the address.
fn describe(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() {
        "timed out".to_owned()
    } else {
        error.to_string()
    };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
