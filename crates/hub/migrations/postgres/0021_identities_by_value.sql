-- Whose an address is, is asked for every event: the key begins with what tells most of them apart, so that one comparison mostly does. The columns
-- stay as they are: an older version goes on with it.
ALTER TABLE contact_identities DROP CONSTRAINT contact_identities_pkey;
ALTER TABLE contact_identities ADD PRIMARY KEY (value, kind, scope);
