//! A simulated Meta.
