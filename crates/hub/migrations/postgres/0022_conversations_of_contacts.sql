-- A message is a new version of its conversation's row, and an entry in each of its indexes: one fewer. What is unique about a conversation begins with
-- its contact, which tells most of them apart, and finds those of a contact too. An older version goes on with it.
ALTER TABLE conversations ADD CONSTRAINT conversations_of_contact UNIQUE (contact_id, channel_id, kind, media_id);
ALTER TABLE conversations DROP CONSTRAINT conversations_by_place;
DROP INDEX conversations_by_contact;
