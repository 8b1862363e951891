-- What a channel has sent of late, however much others have: whom it wrote to, and how fast it goes.
CREATE INDEX attempts_by_channel ON attempts (channel_id, id);

-- What is to go on by another route is found however much waits for which there is none.
DROP INDEX message_routes_at_work;
CREATE INDEX message_routes_at_work ON message_routes (channel_id, looked_at) WHERE state = 'working' AND no_route IS NULL;
CREATE INDEX message_routes_stranded ON message_routes (channel_id, looked_at) WHERE state = 'working' AND no_route IS NOT NULL;

-- How often an operator has let a channel go on that paused: whoever leads it does so once for each.
ALTER TABLE channels ADD COLUMN hurries BIGINT NOT NULL DEFAULT 0;
