-- Circuits, switches by hand, when messages expire, and which nodes there are.

-- The circuit of a channel, as its leader last decided; null: it is closed.
ALTER TABLE channels ADD COLUMN circuit_reason TEXT;
ALTER TABLE channels ADD COLUMN circuit_opened_at BIGINT;
ALTER TABLE channels ADD COLUMN circuit_probe_at BIGINT;
ALTER TABLE channels ADD COLUMN circuit_openings BIGINT;
-- The backup that somebody has put in the channel's place; null: it sends itself.
ALTER TABLE channels ADD COLUMN switched_to TEXT;
ALTER TABLE channels ADD COLUMN switched_at BIGINT;
ALTER TABLE channels ADD COLUMN switched_by TEXT;

-- Not after, on any route; null: its sender named no time.
ALTER TABLE message_routes ADD COLUMN expires_at BIGINT;
-- 1: e-mail was put before the order of the policy.
ALTER TABLE message_routes ADD COLUMN email_first SMALLINT NOT NULL DEFAULT 0;

-- What expires is ended at its time, whether or not its channel sends.
CREATE INDEX outbox_by_expiry ON outbox (expires_at);

-- 1: the node that led before has ended in order, and given the lease to its present owner.
ALTER TABLE channel_leases ADD COLUMN handed_over SMALLINT NOT NULL DEFAULT 0;

-- Nodes that share the store, whether or not they lead a channel.
CREATE TABLE nodes (
    node TEXT PRIMARY KEY,
    beats BIGINT NOT NULL,             -- raised whenever the node shows that it is alive
    until BIGINT NOT NULL              -- by the node's clock; long after it the row is forgotten
);
