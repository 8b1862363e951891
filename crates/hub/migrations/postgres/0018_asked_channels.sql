-- The channel that a message was asked to go by, where it was accepted on another one: the built-in order is reckoned from it.
ALTER TABLE message_routes ADD COLUMN asked_channel_id TEXT;
