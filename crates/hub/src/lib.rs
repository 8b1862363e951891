//! Tidings: a hub for WhatsApp and Instagram messaging. The library behind the binary `tidings`.

pub mod clock;
pub mod ids;
pub mod store;
