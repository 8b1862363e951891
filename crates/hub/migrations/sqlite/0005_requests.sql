-- What a message was accepted with beside its content, where that is not the usual.
CREATE TABLE message_terms (
    channel_id TEXT NOT NULL,
    message_id BLOB NOT NULL,
    purpose TEXT NOT NULL,             -- service, marketing
    priority SMALLINT NOT NULL,        -- lower goes first
    expires_at BIGINT NOT NULL,
    fallback TEXT,                     -- the template to send where the window has closed
    fallback_at BIGINT,                -- when it was taken
    fallback_reason TEXT,              -- and why
    said TEXT,                         -- what it took the place of
    PRIMARY KEY (channel_id, message_id)
) WITHOUT ROWID;

-- Messages that are to be sent at a time: until then they are in nobody's way.
CREATE TABLE scheduled_messages (
    message_id BLOB PRIMARY KEY,
    channel_id TEXT NOT NULL,
    conversation_id BLOB NOT NULL,
    priority SMALLINT NOT NULL,
    due_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    queued_at BIGINT NOT NULL
);
CREATE INDEX scheduled_messages_by_due ON scheduled_messages (due_at, message_id);
CREATE INDEX scheduled_messages_by_channel ON scheduled_messages (channel_id, due_at);

-- Meta's ids of messages from before they were queued again.
CREATE TABLE former_external_ids (
    channel_id TEXT NOT NULL,
    external_id TEXT NOT NULL,
    message_id BLOB NOT NULL,
    PRIMARY KEY (channel_id, external_id)
) WITHOUT ROWID;

CREATE INDEX messages_ended ON messages (created_at, id) WHERE status IN ('failed', 'expired');
CREATE INDEX messages_ended_by_channel ON messages (channel_id, created_at, id) WHERE status IN ('failed', 'expired');
CREATE INDEX outbox_by_age ON outbox (channel_id, queued_at);
