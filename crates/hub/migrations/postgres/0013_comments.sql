-- Beside the direct conversation with a contact there is one for each post that they comment on, or mention the business in.
ALTER TABLE conversations ADD COLUMN kind TEXT NOT NULL DEFAULT 'direct';    -- direct, comments
ALTER TABLE conversations ADD COLUMN media_id TEXT NOT NULL DEFAULT '';      -- of comments: Meta's id of the post, empty where Meta does not tell
ALTER TABLE conversations ADD COLUMN answered_comment BYTEA;                 -- of a direct one: the message that is the comment which was answered in it last
ALTER TABLE conversations ADD CONSTRAINT conversations_by_place UNIQUE (channel_id, contact_id, kind, media_id);
ALTER TABLE conversations DROP CONSTRAINT conversations_channel_id_contact_id_key;
-- Lists of comments: the usual conversation is left out, as in the indexes of other lists.
CREATE INDEX conversations_of_comments ON conversations (channel_id, last_message_at, id)
    WHERE kind = 'comments' AND merged_into IS NULL;

-- What is known of a message that is a comment or a mention.
CREATE TABLE comments (
    message_id BYTEA PRIMARY KEY,
    channel_id TEXT NOT NULL,
    kind TEXT NOT NULL,                -- comment, live, mention, caption
    hidden_at BIGINT,                  -- since when it is hidden, if it is
    private_reply BYTEA,               -- the message that answers it privately
    privately_at BIGINT                -- when that was handed to Meta
);
CREATE INDEX comments_by_private_reply ON comments (channel_id, privately_at) WHERE privately_at IS NOT NULL;

-- Mentions of which only ids are known: what was said, and by whom, is asked of Meta.
CREATE TABLE mentions (
    channel_id TEXT NOT NULL,
    media_id TEXT NOT NULL,
    comment_id TEXT NOT NULL,          -- empty: in the caption
    told_at BIGINT NOT NULL,           -- when Meta told
    event_id BYTEA NOT NULL,
    due_at BIGINT NOT NULL,
    attempts INTEGER NOT NULL,
    PRIMARY KEY (channel_id, media_id, comment_id)
);
CREATE INDEX mentions_by_due ON mentions (channel_id, due_at);
