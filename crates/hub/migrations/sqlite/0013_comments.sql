-- Beside the direct conversation with a contact there is one for each post that they comment on, or mention the business in. That a contact has
-- one conversation on a channel was part of the table, which SQLite cannot change: it is made anew, with everything in it.
CREATE TABLE conversations_made_anew (
    id BLOB PRIMARY KEY,
    channel_id TEXT NOT NULL,
    contact_id BLOB NOT NULL,
    status TEXT NOT NULL,              -- open, pending, resolved, snoozed
    handler TEXT NOT NULL,             -- automation, person
    assignee TEXT,
    unread BIGINT NOT NULL,
    read_up_to BIGINT NOT NULL,        -- inbound messages up to this time are read by us
    last_inbound_at BIGINT,
    window_ends_at BIGINT,
    last_message_at BIGINT NOT NULL,
    last_message_id BLOB,
    next_position BIGINT NOT NULL,     -- of the next entry in the outbox
    merged_into BLOB,
    created_at BIGINT NOT NULL,
    kind TEXT NOT NULL DEFAULT 'direct',    -- direct, comments
    media_id TEXT NOT NULL DEFAULT '',      -- of comments: Meta's id of the post, empty where Meta does not tell
    answered_comment BLOB,                  -- of a direct one: the message that is the comment which was answered in it last
    UNIQUE (channel_id, contact_id, kind, media_id)
) WITHOUT ROWID;
INSERT INTO conversations_made_anew (id, channel_id, contact_id, status, handler, assignee, unread, read_up_to, last_inbound_at, window_ends_at,
    last_message_at, last_message_id, next_position, merged_into, created_at)
SELECT id, channel_id, contact_id, status, handler, assignee, unread, read_up_to, last_inbound_at, window_ends_at,
    last_message_at, last_message_id, next_position, merged_into, created_at FROM conversations;
DROP TABLE conversations;
ALTER TABLE conversations_made_anew RENAME TO conversations;
CREATE INDEX conversations_by_channel ON conversations (channel_id, last_message_at, id) WHERE merged_into IS NULL;
CREATE INDEX conversations_by_contact ON conversations (contact_id);
CREATE INDEX conversations_by_merge ON conversations (merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX conversations_by_status ON conversations (channel_id, status, last_message_at, id)
    WHERE status <> 'open' AND merged_into IS NULL;
CREATE INDEX conversations_by_assignee ON conversations (channel_id, assignee, last_message_at, id)
    WHERE assignee IS NOT NULL AND merged_into IS NULL;
-- As those before: the usual conversation is left out.
CREATE INDEX conversations_of_comments ON conversations (channel_id, last_message_at, id)
    WHERE kind = 'comments' AND merged_into IS NULL;

-- What is known of a message that is a comment or a mention.
CREATE TABLE comments (
    message_id BLOB PRIMARY KEY,
    channel_id TEXT NOT NULL,
    kind TEXT NOT NULL,                -- comment, live, mention, caption
    hidden_at BIGINT,                  -- since when it is hidden, if it is
    private_reply BLOB,                -- the message that answers it privately
    privately_at BIGINT                -- when that was handed to Meta
) WITHOUT ROWID;
CREATE INDEX comments_by_private_reply ON comments (channel_id, privately_at) WHERE privately_at IS NOT NULL;

-- Mentions of which only ids are known: what was said, and by whom, is asked of Meta.
CREATE TABLE mentions (
    channel_id TEXT NOT NULL,
    media_id TEXT NOT NULL,
    comment_id TEXT NOT NULL,          -- empty: in the caption
    told_at BIGINT NOT NULL,           -- when Meta told
    event_id BLOB NOT NULL,
    due_at BIGINT NOT NULL,
    attempts INTEGER NOT NULL,
    PRIMARY KEY (channel_id, media_id, comment_id)
) WITHOUT ROWID;
CREATE INDEX mentions_by_due ON mentions (channel_id, due_at);
