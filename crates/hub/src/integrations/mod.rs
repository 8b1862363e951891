//! What websites and outside systems of the business use, without an API key.
//!
//! - [`reels`]: the reels of the Instagram account, as a feed that never goes blank.
//! - [`embed`]: the same, ready to be put on a page.
//! - [`origins`]: which websites' scripts may read them.
//! - [`whatsapp`]: signed endpoints that send on WhatsApp.

pub mod embed;
pub mod origins;
pub mod reels;
pub mod whatsapp;
