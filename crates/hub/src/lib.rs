//! Tidings: a hub for WhatsApp and Instagram messaging.
