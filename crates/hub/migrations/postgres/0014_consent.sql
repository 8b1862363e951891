-- What was said of being written to, a row a statement and purpose. Of what one keeper was told, the latest stands; nothing is ever changed.
CREATE TABLE consent_statements (
    id BYTEA NOT NULL,                  -- of what said it: a message, an event, an attempt, or a change by the API
    purpose TEXT NOT NULL,             -- service, marketing
    contact_id BYTEA NOT NULL,
    keeper TEXT NOT NULL,              -- tidings; whatsapp: its own menu, which Tidings cannot change
    at BIGINT NOT NULL,                -- when it was said: by Meta's clock for what came from Meta
    opted_out SMALLINT NOT NULL,
    source TEXT NOT NULL,              -- word, whatsapp, refusal, api
    channel_id TEXT,                   -- where
    detail TEXT,                       -- the word, what WhatsApp wrote, or the caller's note
    actor TEXT,                        -- who changed it by the API
    noted_at BIGINT NOT NULL,          -- when Tidings learnt of it
    PRIMARY KEY (id, purpose)
);
CREATE INDEX consent_statements_that_stand ON consent_statements (contact_id, purpose, keeper, at, opted_out, id);
CREATE INDEX consent_statements_by_contact ON consent_statements (contact_id, at, id, purpose);

CREATE INDEX scheduled_messages_by_conversation ON scheduled_messages (conversation_id, message_id);
