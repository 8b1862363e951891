-- When the contact's names, as they stand, were told in a conversation last: a name that is known is told with nearly every message.
ALTER TABLE conversations ADD COLUMN name_told_at BIGINT;
ALTER TABLE conversations ADD COLUMN username_told_at BIGINT;
