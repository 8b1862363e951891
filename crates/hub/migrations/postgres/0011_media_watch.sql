-- How far an Instagram account was looked through for new posts: everything in milliseconds since 1970.
CREATE TABLE media_watches (
    channel_id TEXT PRIMARY KEY,
    -- What was posted before is not new.
    since BIGINT NOT NULL,
    -- When the newest post that was seen was posted.
    seen_until BIGINT NOT NULL,
    looked_at BIGINT NOT NULL
);
