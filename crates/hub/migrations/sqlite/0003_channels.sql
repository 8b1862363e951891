-- Channels that can change while the hub runs, their credentials, flags, and who changed what.

ALTER TABLE channels ADD COLUMN name TEXT;
-- 'settings' or 'api'
ALTER TABLE channels ADD COLUMN source TEXT NOT NULL DEFAULT 'settings';
ALTER TABLE channels ADD COLUMN backup_for TEXT;
-- a JSON object: pace and budgets, as far as they were set
ALTER TABLE channels ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';
-- sealed; null: the channel only receives
ALTER TABLE channels ADD COLUMN credentials BLOB;
-- one more with each change of the credentials
ALTER TABLE channels ADD COLUMN credentials_version BIGINT NOT NULL DEFAULT 0;
ALTER TABLE channels ADD COLUMN credentials_at BIGINT;
-- of account and credentials as the settings last named them
ALTER TABLE channels ADD COLUMN settings_fingerprint BLOB;
-- why nothing is sent: set while Meta refuses the credentials
ALTER TABLE channels ADD COLUMN held_reason TEXT;
ALTER TABLE channels ADD COLUMN held_code BIGINT;
ALTER TABLE channels ADD COLUMN held_at BIGINT;
ALTER TABLE channels ADD COLUMN updated_at BIGINT;
-- a channel that was removed stays as a row: its conversations do
ALTER TABLE channels ADD COLUMN removed_at BIGINT;

CREATE TABLE flags (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    updated_by TEXT NOT NULL
);

-- one more with each change of a channel or a flag: what every node looks at
CREATE TABLE revisions (
    name TEXT PRIMARY KEY,
    revision BIGINT NOT NULL
);
INSERT INTO revisions (name, revision) VALUES ('channels', 0);

CREATE TABLE audit (
    id BLOB PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- a JSON object; never a secret
    detail TEXT NOT NULL
);
CREATE INDEX audit_by_subject ON audit (subject, id);
