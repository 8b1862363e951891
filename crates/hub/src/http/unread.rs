//! What nobody has read of a request's body passes before the answer is given.
//!
//! Whoever still writes does not read: an answer given meanwhile, and the connection closed after it, would be lost with what they write into the closed
//! connection. And a connection on which nothing is left unread serves the next request too.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, timeout_at};

/// How much passes at most.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// The body of a request, once nobody reads it any more.
#[derive(Debug)]
pub struct Unread {
    left: Arc<Mutex<Left>>,
    /// Whoever asks before they send is told before they do.
    asks_first: bool,
}

#[derive(Debug, Default)]
struct Left {
    body: Option<Body>,
    was_asked_for: bool,
}

impl Unread {
    /// Watches what is read of a request.
    pub fn watch(request: Request) -> (Request, Self) {
        let asks_first = request.headers().contains_key(header::EXPECT);
        let left = Arc::default();
        let request = request.map(|body| {
            if body.is_end_stream() {
                return body;
            }
            Body::new(Watched {
                body: Some(body),
                left: Arc::clone(&left),
            })
        });
        (request, Self { left, asks_first })
    }

    /// Lets pass what is left, until then; tells whether all of it has passed.
    pub async fn pass(self, deadline: Instant) -> bool {
        let Left { body, was_asked_for } = std::mem::take(&mut *lock(&self.left));
        let Some(mut body) = body else { return true };
        if self.asks_first && !was_asked_for {
            return false;
        }
        let mut passed = 0;
        while passed <= BYTES_MAX {
            match timeout_at(deadline, body.frame()).await {
                Ok(Some(Ok(frame))) => passed += frame.data_ref().map_or(0, Bytes::len),
                Ok(None) => return true,
                Ok(Some(Err(_))) | Err(_) => return false,
            }
        }
        false
    }
}

/// A body that comes back when its reader has dropped it.
struct Watched {
    /// There until it has ended.
    body: Option<Body>,
    left: Arc<Mutex<Left>>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(cx);
        match &polled {
            Poll::Ready(None | Some(Err(_))) => self.body = None,
            Poll::Ready(Some(Ok(_))) | Poll::Pending => lock(&self.left).was_asked_for = true,
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        lock(&self.left).body = self.body.take().filter(|body| !body.is_end_stream());
    }
}

/// Nothing is done under this lock that could leave it in the middle.
fn lock(left: &Mutex<Left>) -> std::sync::MutexGuard<'_, Left> {
    left.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::stream;

    use super::*;

    fn deadline() -> Instant {
        Instant::now() + Duration::from_mins(1)
    }

    fn request(chunks: usize, bytes: usize, expects: bool) -> Request {
        let chunks = (0..chunks).map(move |_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; bytes])));
        let mut request = Request::new(Body::from_stream(stream::iter(chunks)));
        if expects {
            request
                .headers_mut()
                .insert(header::EXPECT, "100-continue".parse().unwrap());
        }
        request
    }

    #[tokio::test]
    async fn what_is_left_passes_and_what_was_read_is_not_left() {
        let (request, unread) = Unread::watch(request(3, 10, false));
        let mut body = request.into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), 10);
        drop(body);
        assert!(unread.pass(deadline()).await);

        let (request, unread) = Unread::watch(self::request(3, 10, false));
        assert_eq!(request.into_body().collect().await.unwrap().to_bytes().len(), 30);
        assert!(lock(&unread.left).body.is_none());
        assert!(unread.pass(deadline()).await);
    }

    #[tokio::test]
    async fn it_ends_with_the_bound_the_deadline_and_the_connection() {
        let (dropped, unread) = Unread::watch(request(17, 1024 * 1024, false));
        drop(dropped);
        assert!(!unread.pass(deadline()).await);

        let silent = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let (dropped, unread) = Unread::watch(Request::new(silent));
        drop(dropped);
        assert!(!unread.pass(Instant::now()).await);

        let broken = Body::from_stream(stream::iter([Err::<Bytes, _>(std::io::Error::other("it broke off"))]));
        let (dropped, unread) = Unread::watch(Request::new(broken));
        drop(dropped);
        assert!(!unread.pass(deadline()).await);
    }

    #[tokio::test]
    async fn who_asks_before_they_send_is_not_told_to_send() {
        let (dropped, unread) = Unread::watch(request(1, 10, true));
        drop(dropped);
        assert!(!unread.pass(deadline()).await);

        let (request, unread) = Unread::watch(request(2, 10, true));
        let mut body = request.into_body();
        body.frame().await.unwrap().unwrap();
        drop(body);
        assert!(unread.pass(deadline()).await, "they have begun to send");
    }
}
