//! Signs and checks webhook bodies.
