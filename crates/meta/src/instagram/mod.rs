//! Instagram webhooks, typed.
