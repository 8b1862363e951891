//! What other systems of the business use every day: signed endpoints that send on WhatsApp.

pub mod whatsapp;
