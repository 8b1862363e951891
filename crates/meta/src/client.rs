//! The Graph client.
