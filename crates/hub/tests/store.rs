//! The store's conformance suite: every method of [`tidings::store::Tx`], written once and run on SQLite and on Postgres.
//!
//! A test is a function of a [`harness::Lab`], a new and migrated store of either engine; it goes through [`harness::on_both`], or
//! through [`harness::on_postgres`] where only several writers can go wrong. Postgres is the one at `TIDINGS_TEST_POSTGRES_URL`
//! (`scripts/with-postgres`). After each test on SQLite, the plan of every statement that it ran is looked at: none may read
//! through a large table.

#![allow(clippy::unwrap_used, clippy::print_stdout)]
#![allow(
    clippy::redundant_closure_for_method_calls,
    reason = "`Tx::method` is of one lifetime, a unit of work of any"
)]
#![allow(
    clippy::assigning_clones,
    reason = "a test reads better as an assignment, and need not be quick"
)]

#[path = "store/audit.rs"]
mod audit;
#[path = "store/channels.rs"]
mod channels;
#[path = "store/comments.rs"]
mod comments;
#[path = "store/complete.rs"]
mod complete;
#[path = "store/consent.rs"]
mod consent;
#[path = "store/contacts.rs"]
mod contacts;
#[path = "store/conversations.rs"]
mod conversations;
#[path = "store/events.rs"]
mod events;
#[path = "store/flags.rs"]
mod flags;
#[path = "store/harness.rs"]
mod harness;
#[path = "store/histories.rs"]
mod histories;
#[path = "store/inline.rs"]
mod inline;
#[path = "store/leases.rs"]
mod leases;
#[path = "store/media.rs"]
mod media;
#[path = "store/media_watch.rs"]
mod media_watch;
#[path = "store/messages.rs"]
mod messages;
#[path = "store/migrations.rs"]
mod migrations;
#[path = "store/numbers.rs"]
mod numbers;
#[path = "store/outbox.rs"]
mod outbox;
#[path = "store/pace.rs"]
mod pace;
#[path = "store/projection.rs"]
mod projection;
#[path = "store/queue.rs"]
mod queue;
#[path = "store/routes.rs"]
mod routes;
#[path = "store/samples.rs"]
mod samples;
#[path = "store/silence.rs"]
mod silence;
#[path = "store/stream.rs"]
mod stream;
#[path = "store/templates.rs"]
mod templates;
#[path = "store/tls.rs"]
mod tls;
#[path = "store/units.rs"]
mod units;
