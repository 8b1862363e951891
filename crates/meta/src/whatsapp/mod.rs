//! WhatsApp webhooks, typed.
