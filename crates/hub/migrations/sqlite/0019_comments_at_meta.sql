-- Private replies to comments, for their number an hour: each attempt counts, from when it was at Meta at the latest. `comments.privately_at` told
-- of the last one of each comment alone, and when that was taken in hand; nothing reads it any more.
CREATE TABLE private_calls (
    attempt_id BLOB PRIMARY KEY,
    channel_id TEXT NOT NULL,
    at BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO private_calls (attempt_id, channel_id, at)
SELECT message_id, channel_id, privately_at FROM comments WHERE privately_at IS NOT NULL;
CREATE INDEX private_calls_by_time ON private_calls (channel_id, at);
DROP INDEX comments_by_private_reply;

-- What is below a comment, which goes with it.
CREATE INDEX messages_by_answered ON messages (channel_id, reply_to) WHERE reply_to IS NOT NULL;

-- Who has a user name: Meta tells nothing else of whoever mentions the business.
CREATE INDEX contacts_by_username ON contacts (username) WHERE username IS NOT NULL;
