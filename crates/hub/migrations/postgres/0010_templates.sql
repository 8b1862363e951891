-- Message templates of WhatsApp Business Accounts, one row a template and language. Numbers of one account share them.
CREATE TABLE templates (
    business_account TEXT NOT NULL,
    name TEXT NOT NULL,
    language TEXT NOT NULL,
    id BYTEA NOT NULL,
    external_id TEXT NOT NULL,
    category TEXT NOT NULL,
    correct_category TEXT,             -- what Meta is going to change it to
    status TEXT NOT NULL,              -- as Meta has it, in small letters
    reason TEXT,                       -- why it was rejected, paused or disabled
    paused_until BIGINT,
    quality TEXT,
    named SMALLINT NOT NULL,           -- whether its variables have names
    components TEXT NOT NULL,          -- as Meta tells them
    ttl_seconds BIGINT,
    status_at BIGINT,                  -- when the last event about its status happened
    told BIGINT NOT NULL,              -- of which request to read the account anew its last event was one
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (business_account, name, language)
);
CREATE UNIQUE INDEX templates_by_id ON templates (id);
CREATE INDEX templates_by_name ON templates (name, language, business_account);

-- How the templates of each account are kept in step with Meta.
CREATE TABLE template_syncs (
    business_account TEXT PRIMARY KEY,
    wanted BIGINT NOT NULL,            -- raised by whoever finds that they have to be read anew
    due_at BIGINT NOT NULL,
    synced_at BIGINT,                  -- when they were last read whole
    failures BIGINT NOT NULL,
    error TEXT
);
