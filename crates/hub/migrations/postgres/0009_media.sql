-- Files that are kept: by what is in them, each once. The bytes are in the media store.
CREATE TABLE media_files (
    sha256 BYTEA PRIMARY KEY,
    size BIGINT NOT NULL,
    kept_at BIGINT NOT NULL,
    look_at BIGINT,                    -- when to look whether anything refers to it still; null: something does
    doomed_at BIGINT                   -- since when nothing does: it is being removed, and nobody may refer to it any more
);
CREATE INDEX media_files_by_look ON media_files (look_at) WHERE look_at IS NOT NULL;

-- What messages refer to: files that callers uploaded, and what Meta told of.
CREATE TABLE media (
    id BYTEA PRIMARY KEY,
    channel_id TEXT,                   -- of the message that brought it; null: a caller uploaded it
    message_id BYTEA,
    status TEXT NOT NULL,              -- pending, stored, failed
    sha256 BYTEA,                       -- of the file, once it is stored
    size BIGINT,
    mime_type TEXT,                    -- as it was found to be, not as somebody said
    filename TEXT,
    told TEXT,                         -- what Meta told of it (JSON): its id, link, hash, type
    attempts BIGINT NOT NULL,
    due_at BIGINT,                     -- of one that is pending: when it is to be fetched
    taken_by BYTEA,                     -- the node that is at it, until it is due again
    reason TEXT,                       -- why it is not there
    created_at BIGINT NOT NULL,
    unused_at BIGINT                   -- of one that was uploaded: when it goes if no message refers to it; null: one does
);
CREATE INDEX media_due ON media (channel_id, due_at) WHERE status = 'pending';
CREATE INDEX media_taken ON media (taken_by) WHERE taken_by IS NOT NULL;
CREATE INDEX media_by_file ON media (sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX media_by_unused ON media (unused_at) WHERE unused_at IS NOT NULL;
CREATE UNIQUE INDEX media_uploaded ON media (sha256, mime_type) WHERE message_id IS NULL;

-- Which message refers to what: the parts of a message from 0.
CREATE TABLE message_media (
    message_id BYTEA NOT NULL,
    part BIGINT NOT NULL,
    media_id BYTEA NOT NULL,
    channel_id TEXT NOT NULL,
    PRIMARY KEY (message_id, part)
);
CREATE INDEX message_media_by_media ON message_media (media_id);

-- Files in Meta's hands: one row for each that a channel has handed over, or is to.
CREATE TABLE media_uploads (
    channel_id TEXT NOT NULL,
    account TEXT NOT NULL,             -- Meta's id of the channel: what it has was given to that one
    sha256 BYTEA NOT NULL,
    kind TEXT NOT NULL,                -- what Meta is told that it is, where that makes a difference
    status TEXT NOT NULL,              -- wanted, ready, failed
    size BIGINT NOT NULL,
    mime_type TEXT NOT NULL,
    meta_id TEXT,
    changed_at BIGINT NOT NULL,        -- since when it has this status
    expires_at BIGINT,                 -- until when Meta has it
    attempts BIGINT NOT NULL,
    due_at BIGINT,                     -- of one that is wanted
    taken_by BYTEA,
    code BIGINT,                       -- why it failed, or has not been done yet
    subcode BIGINT,
    reason TEXT,
    PRIMARY KEY (channel_id, account, sha256, kind)
);
CREATE INDEX media_uploads_due ON media_uploads (channel_id, due_at) WHERE status = 'wanted';
CREATE INDEX media_uploads_taken ON media_uploads (taken_by) WHERE taken_by IS NOT NULL;
CREATE INDEX media_uploads_by_change ON media_uploads (changed_at) WHERE status <> 'wanted';
