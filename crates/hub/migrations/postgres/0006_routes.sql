-- By which routes a message has gone: one row for each leg, the first of which is the message that was accepted.
CREATE TABLE message_routes (
    origin_id BYTEA NOT NULL,
    leg BIGINT NOT NULL,               -- from 0
    message_id BYTEA NOT NULL,
    channel_id TEXT NOT NULL,
    policy TEXT NOT NULL,
    state TEXT NOT NULL,               -- working, awaiting, reached, left, ended
    reason TEXT,                       -- why it began
    at BIGINT NOT NULL,
    due_at BIGINT,                     -- when it is to be looked at; null: when something is told of its message
    looked_at BIGINT NOT NULL,
    late_at BIGINT,                    -- when it got there although another leg had taken over
    no_route TEXT,                     -- why nothing comes after it
    PRIMARY KEY (origin_id, leg)
);
CREATE UNIQUE INDEX message_routes_by_message ON message_routes (message_id);
CREATE INDEX message_routes_by_due ON message_routes (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX message_routes_at_work ON message_routes (channel_id, looked_at) WHERE state = 'working';

-- Whoever changes how far a message got need not know of routes.
CREATE OR REPLACE FUNCTION tell_routes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE message_routes SET due_at = 0 WHERE message_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER message_routes_told AFTER UPDATE OF status ON messages FOR EACH ROW
    WHEN (NEW.outbound = 1 AND NEW.status <> OLD.status AND NEW.status NOT IN ('queued', 'sending')) EXECUTE FUNCTION tell_routes();
