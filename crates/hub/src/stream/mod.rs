//! What happened, live: `GET /api/v1/stream`.

pub mod model;
