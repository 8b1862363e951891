//! Messages out.

pub mod model;
