//! Instagram webhooks, typed.
//!
//! [`split`] takes one POST apart into its [events](crate::notification::Event), cheaply and without judging any of them: it reads just
//! enough to name each one.

mod identity;
mod item;
mod json;
mod split;

pub use split::split;
