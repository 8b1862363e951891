//! A way to Meta without sockets: for a simulation in which time, order and faults are its own.
//!
//! Everything before and after the exchange is the client's own: the request is built, and the answer read, as on a real connection.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use reqwest::Request;
use reqwest::header::HeaderMap;

use super::CallError;

/// Takes requests to Meta. It keeps to the time limits by itself.
pub trait Carrier: Debug + Send + Sync {
    /// Makes the exchange. The error is [`CallError::NotSent`] or [`CallError::Unknown`], as a connection would have it.
    fn carry(&self, request: Request) -> Pin<Box<dyn Future<Output = Result<Carried, CallError>> + Send>>;
}

/// An answer that was carried back.
#[derive(Debug, Clone, Default)]
pub struct Carried {
    /// The HTTP status.
    pub http_status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// What arrived of its body.
    pub body: Vec<u8>,
    /// Why no more of the body arrived; `None` if all of it did.
    pub broken: Option<String>,
}
