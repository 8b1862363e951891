-- What Meta allows a WhatsApp number and thinks of it, as it was last read; and when it is read again.
CREATE TABLE number_facts (
    channel_id TEXT PRIMARY KEY,
    throughput TEXT,                   -- as Meta says it: STANDARD, HIGH, NOT_APPLICABLE
    on_phone_app SMALLINT NOT NULL DEFAULT 0,
    messaging_limit TEXT,              -- as Meta says it: TIER_250, …
    quality TEXT,                      -- green, yellow, red, unknown
    read_at BIGINT,                    -- null: never
    due_at BIGINT NOT NULL,
    failures BIGINT NOT NULL
) WITHOUT ROWID;
