//! HTTP, whatever it carries.
//!
//! - [`server`]: accepts connections, within bounds.
//! - [`request`]: gives each request an id and a place in the log, and turns a panic into an answer.
//! - [`extract`]: what a request brings, parsed; [`timestamp`], [`cursor`] and [`word`]: how times, places in lists and words are written.
//! - [`problem`]: what a caller is told when something is refused, and [`unread`]: letting the rest of what they send pass before.

pub mod cursor;
pub mod extract;
pub mod problem;
pub mod request;
pub mod server;
pub mod timestamp;
pub mod unread;
pub mod word;
