-- Times are epoch milliseconds, ids are UUIDv7 (16 bytes, in order of their making), booleans 0 or 1, documents JSON text.
-- Every large table that is looked up by Meta's words carries the account or channel in its unique key.

-- A connected number or account.
CREATE TABLE channels (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    account TEXT NOT NULL,
    business_account TEXT,
    created_at BIGINT NOT NULL,
    last_event_at BIGINT,
    last_event_occurred_at BIGINT,
    UNIQUE (kind, account)
);

-- What Meta told us, one row an event, kept as it came.
CREATE TABLE events (
    id BLOB PRIMARY KEY,
    platform TEXT NOT NULL,
    account TEXT NOT NULL,
    identity BLOB NOT NULL,            -- the first 16 bytes of SHA-256 of the external id
    external_id TEXT NOT NULL,
    channel_id TEXT,                   -- null: no channel of ours has this account
    kind TEXT NOT NULL,
    occurred_at BIGINT,
    received_at BIGINT NOT NULL,
    signed SMALLINT NOT NULL,
    status TEXT NOT NULL,              -- pending, processed, ignored, failed, dead
    attempts INTEGER NOT NULL,
    error TEXT,
    processed_at BIGINT,
    processing_micros BIGINT,
    payload TEXT NOT NULL,
    UNIQUE (account, identity)
);
CREATE INDEX events_by_kind ON events (kind, id);
CREATE INDEX events_by_account ON events (account, id);

-- Which events wait to be understood, oldest due first. Short, whatever the length of `events`.
CREATE TABLE event_queue (
    due_at BIGINT NOT NULL,
    event_id BLOB NOT NULL,
    PRIMARY KEY (due_at, event_id)
) WITHOUT ROWID;

-- Events that need a look: ignored, failed, dead. Short too, so that looking for them does not walk through all others.
CREATE TABLE event_exceptions (
    status TEXT NOT NULL,
    event_id BLOB NOT NULL,
    PRIMARY KEY (status, event_id)
) WITHOUT ROWID;

-- How many events there are, so that nothing has to be counted. One row a slot, so that writers do not wait for each other.
CREATE TABLE event_counts (
    slot SMALLINT NOT NULL,
    platform TEXT NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (slot, platform, kind, status)
) WITHOUT ROWID;

-- Signed bodies that were not what Meta sends.
CREATE TABLE quarantined_notifications (
    id BLOB PRIMARY KEY,
    platform TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    reason TEXT NOT NULL,
    body BLOB NOT NULL
);

CREATE TABLE contacts (
    id BLOB PRIMARY KEY,
    name TEXT,
    name_searched TEXT,                -- in lower case
    name_at BIGINT NOT NULL,           -- when Meta said so; a later name wins
    username TEXT,
    username_at BIGINT NOT NULL,
    picture_url TEXT,
    profile_due_at BIGINT,             -- when to ask Meta for the profile; null: never
    merged_into BLOB,
    created_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX contacts_by_merge ON contacts (merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX contacts_by_profile_due ON contacts (profile_due_at) WHERE profile_due_at IS NOT NULL;

CREATE TABLE contact_identities (
    kind TEXT NOT NULL,                -- phone, user_id, parent_user_id, igsid
    scope TEXT NOT NULL,               -- the Instagram account of an igsid, else empty
    value TEXT NOT NULL,               -- as compared: variants of one phone number are one value
    shown TEXT NOT NULL,               -- as Meta last wrote it, and as it is answered to
    contact_id BLOB NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (kind, scope, value)
) WITHOUT ROWID;
CREATE INDEX contact_identities_by_contact ON contact_identities (contact_id);

CREATE TABLE conversations (
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
    UNIQUE (channel_id, contact_id)
) WITHOUT ROWID;
CREATE INDEX conversations_by_channel ON conversations (channel_id, last_message_at, id) WHERE merged_into IS NULL;
CREATE INDEX conversations_by_contact ON conversations (contact_id);
CREATE INDEX conversations_by_merge ON conversations (merged_into) WHERE merged_into IS NOT NULL;

CREATE TABLE messages (
    id BLOB PRIMARY KEY,
    channel_id TEXT NOT NULL,
    conversation_id BLOB NOT NULL,
    outbound SMALLINT NOT NULL,
    sender TEXT NOT NULL,              -- contact, operator, workflow, ai, api, phone
    content TEXT NOT NULL,             -- a document: see the content kinds of the API
    external_id TEXT,                  -- Meta's id; null until Meta has given one
    reply_to TEXT,                     -- Meta's id of the message that this one answers
    inert SMALLINT NOT NULL,           -- imported history: starts nothing, opens no window
    status TEXT NOT NULL,
    occurred_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    accepted_at BIGINT,
    sent_at BIGINT,
    delivered_at BIGINT,
    read_at BIGINT,
    played_at BIGINT,
    failed_at BIGINT,
    error_code BIGINT,
    error_subcode BIGINT,
    error_text TEXT,
    edited_at BIGINT,
    deleted_at BIGINT,
    maybe_duplicate SMALLINT NOT NULL,
    metadata TEXT,
    event_id BLOB,                     -- the event that brought it
    UNIQUE (channel_id, external_id)
);
CREATE INDEX messages_by_conversation ON messages (conversation_id, occurred_at, id);

-- What became of a message after it was said, one row a fact: statuses, edits, deletion, echo.
CREATE TABLE message_facts (
    message_id BLOB NOT NULL,
    at BIGINT NOT NULL,
    event_id BLOB NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (message_id, at, event_id, kind)
) WITHOUT ROWID;

CREATE TABLE message_reactions (
    message_id BLOB NOT NULL,
    actor TEXT NOT NULL,               -- contact or business
    emoji TEXT,                        -- null: taken back
    at BIGINT NOT NULL,
    event_id BLOB NOT NULL,
    PRIMARY KEY (message_id, actor)
) WITHOUT ROWID;

-- Events about messages that are not known yet: they go back into the queue when these are.
CREATE TABLE parked_events (
    channel_id TEXT NOT NULL,
    external_id TEXT NOT NULL,
    event_id BLOB NOT NULL,
    parked_at BIGINT NOT NULL,
    PRIMARY KEY (channel_id, external_id, event_id)
) WITHOUT ROWID;
CREATE INDEX parked_events_by_time ON parked_events (parked_at);

-- "The contact has read everything up to here": for messages that become known later.
CREATE TABLE read_watermarks (
    conversation_id BLOB NOT NULL,
    up_to BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (conversation_id, up_to)
) WITHOUT ROWID;

-- Messages that still have to be sent.
CREATE TABLE outbox (
    message_id BLOB PRIMARY KEY,
    channel_id TEXT NOT NULL,
    conversation_id BLOB NOT NULL,
    position BIGINT NOT NULL,          -- in its conversation
    head SMALLINT NOT NULL,            -- 1: nothing of its conversation is before it
    state TEXT NOT NULL,               -- waiting, sending, unknown
    priority SMALLINT NOT NULL,        -- lower goes first
    due_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    attempts INTEGER NOT NULL,         -- those that count against the message
    attempt_id BLOB,                   -- the one under way, or of unknown outcome
    owner TEXT,                        -- the process that has it in hand
    leased_until BIGINT,               -- after that, another process may take it over
    reason TEXT,                       -- why it waits
    queued_at BIGINT NOT NULL
);
CREATE INDEX outbox_by_due ON outbox (channel_id, head, state, priority, due_at, message_id);
CREATE INDEX outbox_by_lease ON outbox (leased_until) WHERE state = 'sending';
CREATE UNIQUE INDEX outbox_by_conversation ON outbox (channel_id, conversation_id, position);

-- Every try of a message at Meta, with what was said.
CREATE TABLE attempts (
    id BLOB PRIMARY KEY,
    message_id BLOB NOT NULL,
    channel_id TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    finished_at BIGINT,
    outcome TEXT,
    http_status INTEGER,
    error_code BIGINT,
    error_subcode BIGINT,
    error_text TEXT,
    request TEXT NOT NULL,
    answer TEXT,
    duration_micros BIGINT
);
CREATE INDEX attempts_by_message ON attempts (message_id, id);

CREATE TABLE idempotency_keys (
    caller TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    answer TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (caller, key)
) WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at);

-- What happened, in the order of the commits, for live streams. Kept for some days.
CREATE TABLE stream (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at BIGINT NOT NULL,
    channel_id TEXT,
    event_id BLOB,
    changes TEXT NOT NULL
);
