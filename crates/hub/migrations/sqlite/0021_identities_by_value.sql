-- Whose an address is, is asked for every event: the key begins with what tells most of them apart, so that one comparison mostly does. The columns
-- stay as they are: an older version goes on with it.
CREATE TABLE identities_by_value (
    kind TEXT NOT NULL,                -- phone, user_id, parent_user_id, igsid, email
    scope TEXT NOT NULL,               -- the Instagram account of an igsid, else empty
    value TEXT NOT NULL,               -- as compared: variants of one phone number are one value
    shown TEXT NOT NULL,               -- as Meta last wrote it, and as it is answered to
    contact_id BLOB NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (value, kind, scope)
) WITHOUT ROWID;
INSERT INTO identities_by_value (kind, scope, value, shown, contact_id, seen_at)
    SELECT kind, scope, value, shown, contact_id, seen_at FROM contact_identities ORDER BY value, kind, scope;
DROP TABLE contact_identities;
ALTER TABLE identities_by_value RENAME TO contact_identities;
CREATE INDEX contact_identities_by_contact ON contact_identities (contact_id);
