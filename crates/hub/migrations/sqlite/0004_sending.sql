-- Which node leads a channel: it alone sends the channel's messages. A node that takes over raises the epoch.
CREATE TABLE channel_leases (
    channel_id TEXT PRIMARY KEY,
    owner TEXT,                        -- the node; null: nobody leads
    epoch BIGINT NOT NULL,
    beats BIGINT NOT NULL,             -- raised whenever the owner shows that it is alive
    until BIGINT NOT NULL              -- by the owner's clock; for people, since clocks differ
);

-- Why an entry of the outbox waits, as one word; `reason` has the details.
ALTER TABLE outbox ADD COLUMN waits_for TEXT NOT NULL DEFAULT 'turn';
UPDATE outbox SET waits_for = CASE
    WHEN state = 'unknown' THEN 'unknown_outcome' WHEN state = 'waiting' AND reason IS NOT NULL THEN 'retry' ELSE 'turn' END;
CREATE INDEX outbox_by_group ON outbox (channel_id, state, waits_for, message_id);
-- What a node has left behind is found by its channel now.
DROP INDEX outbox_by_lease;

-- How many entries there are, so that nothing has to be counted. One row a slot, so that writers do not wait for each other.
CREATE TABLE outbox_counts (
    channel_id TEXT NOT NULL,
    state TEXT NOT NULL,
    waits_for TEXT NOT NULL,
    slot SMALLINT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (channel_id, state, waits_for, slot)
) WITHOUT ROWID;
INSERT INTO outbox_counts (channel_id, state, waits_for, slot, count)
    SELECT channel_id, state, waits_for, 0, COUNT(*) FROM outbox GROUP BY channel_id, state, waits_for;

CREATE TRIGGER outbox_counts_insert AFTER INSERT ON outbox BEGIN
    INSERT INTO outbox_counts (channel_id, state, waits_for, slot, count) VALUES (NEW.channel_id, NEW.state, NEW.waits_for, 0, 1)
        ON CONFLICT (channel_id, state, waits_for, slot) DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER outbox_counts_delete AFTER DELETE ON outbox BEGIN
    UPDATE outbox_counts SET count = count - 1
        WHERE channel_id = OLD.channel_id AND state = OLD.state AND waits_for = OLD.waits_for AND slot = 0;
END;
CREATE TRIGGER outbox_counts_update AFTER UPDATE OF channel_id, state, waits_for ON outbox
    WHEN NEW.channel_id <> OLD.channel_id OR NEW.state <> OLD.state OR NEW.waits_for <> OLD.waits_for BEGIN
    UPDATE outbox_counts SET count = count - 1
        WHERE channel_id = OLD.channel_id AND state = OLD.state AND waits_for = OLD.waits_for AND slot = 0;
    INSERT INTO outbox_counts (channel_id, state, waits_for, slot, count) VALUES (NEW.channel_id, NEW.state, NEW.waits_for, 0, 1)
        ON CONFLICT (channel_id, state, waits_for, slot) DO UPDATE SET count = count + 1;
END;

-- How many calls each channel has made, by spans of five minutes: limits an hour and a day are reckoned from them.
CREATE TABLE pace_counts (
    channel_id TEXT NOT NULL,
    span BIGINT NOT NULL,              -- since 1970
    count BIGINT NOT NULL,
    PRIMARY KEY (channel_id, span)
) WITHOUT ROWID;

-- Whom the business has written to outside of a window, and when last.
CREATE TABLE contacts_reached (
    channel_id TEXT NOT NULL,
    conversation_id BLOB NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (channel_id, conversation_id)
) WITHOUT ROWID;
CREATE INDEX contacts_reached_by_time ON contacts_reached (channel_id, at);

-- What a whole channel waits for, as its leader last said, and how fast it goes.
CREATE TABLE channel_pace (
    channel_id TEXT PRIMARY KEY,
    waits_for TEXT NOT NULL,
    until BIGINT,
    per_second BIGINT,                 -- null: without a limit
    said_at BIGINT NOT NULL
);
