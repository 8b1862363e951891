//! WhatsApp webhooks: split into events, and each event understood.
//!
//! Two steps, because they have different duties. [`split()`] runs before a notification is acknowledged: it is quick, and every
//! item of a body comes out as an event with a stable identity, whatever its shape, so that nothing is lost and one bad item
//! spoils no other. [`parse`] runs later, on one event alone: it says what the event means, or why it means nothing.
//!
//! Both are lenient: an unknown field, message type or status is not an error, and `""` is the same as absent, because Meta
//! publishes both for people without a visible phone number (reference `whatsapp.md` 6.3).
//!
//! - `split`, `wire`, `field`: from a body to events. `field` decides which kind of event an item or a change is.
//! - `entry`: one event, typed; `message`, `status`, `history`, `account`, `template`: what can be in it; `shape`: reading leniently.

mod account;
mod entry;
mod field;
mod history;
mod message;
mod shape;
mod split;
mod status;
mod template;
mod wire;

pub use account::{AppState, AppStateAction, Call, Preference, UserIdUpdate, UserPreference};
pub use entry::{Change, Contact, Entry, Person, PhoneNumber, parse};
pub use history::{HistoryItem, HistoryMessage};
pub use message::{
    CallPermissionReply, Content, Context, Location, Media, MediaKind, Message, Order, OrderItem, Product, Referral,
    System, SystemKind,
};
pub use shape::{ErrorItem, ShapeError};
pub use split::split;
pub use status::{BillingConversation, Pricing, Status, StatusKind};
pub use template::{TemplateChange, TemplateUpdate};
