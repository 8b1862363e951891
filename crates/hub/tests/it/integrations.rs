//! What other systems of the business call.

mod guide;
mod whatsapp;
