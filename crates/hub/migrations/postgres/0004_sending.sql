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
);
INSERT INTO outbox_counts (channel_id, state, waits_for, slot, count)
    SELECT channel_id, state, waits_for, 0, COUNT(*) FROM outbox GROUP BY channel_id, state, waits_for;

CREATE OR REPLACE FUNCTION count_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO outbox_counts AS c (channel_id, state, waits_for, slot, count)
            SELECT n.channel_id, n.state, n.waits_for, pg_backend_pid() % 16, COUNT(*) FROM entries_after AS n GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
            ON CONFLICT (channel_id, state, waits_for, slot) DO UPDATE SET count = c.count + EXCLUDED.count;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO outbox_counts AS c (channel_id, state, waits_for, slot, count)
            SELECT o.channel_id, o.state, o.waits_for, pg_backend_pid() % 16, -COUNT(*) FROM entries_before AS o GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
            ON CONFLICT (channel_id, state, waits_for, slot) DO UPDATE SET count = c.count + EXCLUDED.count;
    ELSE
        INSERT INTO outbox_counts AS c (channel_id, state, waits_for, slot, count)
            SELECT d.channel_id, d.state, d.waits_for, pg_backend_pid() % 16, SUM(d.count) FROM (
                SELECT n.channel_id, n.state, n.waits_for, 1 AS count FROM entries_after AS n
                UNION ALL SELECT o.channel_id, o.state, o.waits_for, -1 FROM entries_before AS o) AS d
            GROUP BY 1, 2, 3 HAVING SUM(d.count) <> 0 ORDER BY 1, 2, 3
            ON CONFLICT (channel_id, state, waits_for, slot) DO UPDATE SET count = c.count + EXCLUDED.count;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER outbox_counts_insert AFTER INSERT ON outbox
    REFERENCING NEW TABLE AS entries_after FOR EACH STATEMENT EXECUTE FUNCTION count_outbox();
CREATE TRIGGER outbox_counts_delete AFTER DELETE ON outbox
    REFERENCING OLD TABLE AS entries_before FOR EACH STATEMENT EXECUTE FUNCTION count_outbox();
CREATE TRIGGER outbox_counts_update AFTER UPDATE ON outbox
    REFERENCING OLD TABLE AS entries_before NEW TABLE AS entries_after FOR EACH STATEMENT EXECUTE FUNCTION count_outbox();

-- How many calls each channel has made, by spans of five minutes: limits an hour and a day are reckoned from them.
CREATE TABLE pace_counts (
    channel_id TEXT NOT NULL,
    span BIGINT NOT NULL,              -- since 1970
    count BIGINT NOT NULL,
    PRIMARY KEY (channel_id, span)
);

-- Whom the business has written to outside of a window, and when last.
CREATE TABLE contacts_reached (
    channel_id TEXT NOT NULL,
    conversation_id BYTEA NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (channel_id, conversation_id)
);
CREATE INDEX contacts_reached_by_time ON contacts_reached (channel_id, at);

-- What a whole channel waits for, as its leader last said, and how fast it goes.
CREATE TABLE channel_pace (
    channel_id TEXT PRIMARY KEY,
    waits_for TEXT NOT NULL,
    until BIGINT,
    per_second BIGINT,                 -- null: without a limit
    said_at BIGINT NOT NULL
);
