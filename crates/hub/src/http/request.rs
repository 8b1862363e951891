//! What every request gets, whatever it asks for: an id, a place in the log, and an answer even if its handler panics.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;
use uuid::Uuid;

use crate::app::App;
use crate::http::extract::BODY_BYTES_MAX;
use crate::http::problem::{Code, INTERNAL, Problem};
use crate::http::unread::Unread;

/// The id of a request: taken from the caller, or made here, and given back.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How long an answer waits for what is left of a body to pass.
const PASSES_WITHIN: Duration = Duration::from_secs(5);

/// Puts around routes what is the same for all of them.
pub fn surround(routes: Router<App>, app: App) -> Router {
    routes
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(app.clone(), identify))
        .with_state(app)
}

/// Gives a request its id, and its answer too: as a header, and in the document if it is a problem.
async fn identify(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request
        .headers()
        .get(&REQUEST_ID)
        .filter(|id| is_sane(id))
        .cloned()
        .unwrap_or_else(|| make_id(&app));
    let text = id.to_str().unwrap_or_default().to_owned();
    let (request, unread) = Unread::watch(request);
    // Without the query: Meta's verify token stands in one.
    let span = tracing::info_span!("request", id = text, method = %request.method(), path = request.uri().path());
    let mut response = next.run(request).instrument(span.clone()).await;
    if let Some(problem) = response.extensions_mut().remove::<Arc<Problem>>() {
        *response.body_mut() = problem.respond(Some(&text)).into_body();
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    span.in_scope(|| {
        tracing::debug!(
            status = response.status().as_u16(),
            micros = began.elapsed().as_micros() as u64,
            "answered"
        );
    });
    // Who was too slow already is not waited for once more.
    let all_has_passed =
        response.status() != StatusCode::REQUEST_TIMEOUT && unread.pass(Instant::now() + PASSES_WITHIN).await;
    let headers = response.headers_mut();
    if !all_has_passed {
        // Nothing else can come over this connection.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(REQUEST_ID, id);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Whether an id of a caller's can stand in a log line and a header as it is.
fn is_sane(id: &HeaderValue) -> bool {
    const BYTES_MAX: usize = 128;
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    (1..=BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(fits)
}

fn make_id(app: &App) -> HeaderValue {
    let id: Uuid = app.ids.next();
    HeaderValue::from_str(&id.simple().to_string()).expect("hexadecimal digits can stand in a header")
}

/// The answer of a handler that panicked.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands the panic over")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a text");
    tracing::error!(panic = text, "a handler panicked: a bug of Tidings");
    Problem::new(Code::Internal, INTERNAL).into_response()
}

/// The answer where no route is.
async fn no_route() -> Problem {
    Problem::new(Code::NotFound, "There is nothing at this address.")
}

/// The answer where a route has no such method; the header `Allow` names those that it has.
async fn no_method() -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        "The header `Allow` names the methods that this address has.",
    )
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::is_sane;

    #[test]
    fn an_id_of_a_caller_is_taken_only_if_it_harms_no_log() {
        for sane in ["1", "req-7", "0197a.b:c_d"] {
            assert!(is_sane(&HeaderValue::from_static(sane)), "{sane}");
        }
        for wrong in ["", "a b", "a\tb", "{}", "\"", &"x".repeat(129)] {
            assert!(!is_sane(&HeaderValue::from_str(wrong).unwrap()), "{wrong}");
        }
    }
}
