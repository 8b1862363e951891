//! What Meta posts: kept raw, then understood.

pub mod model;
