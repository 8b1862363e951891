-- Lists of conversations that want what most conversations are not. Both indexes leave the usual conversation out, so that a message in it
-- costs nothing more.
CREATE INDEX conversations_by_status ON conversations (channel_id, status, last_message_at, id)
    WHERE status <> 'open' AND merged_into IS NULL;
CREATE INDEX conversations_by_assignee ON conversations (channel_id, assignee, last_message_at, id)
    WHERE assignee IS NOT NULL AND merged_into IS NULL;

-- From when on the profile is asked for again, once something is heard of the contact; null: it is asked for already, or never was.
ALTER TABLE contacts ADD COLUMN profile_stale_at BIGINT;
