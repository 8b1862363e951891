//! Statements about contacts and their identities.

use std::collections::{BTreeSet, HashMap};

use super::value::{FromValue, Row, Rows, Value, params};
use super::{StoreError, Tx};
use crate::conversations::model::{Contact, Identity, IdentityKey, IdentityKind, Millis, NamesTold};
use crate::ids::ContactId;

/// What Meta called a contact, and when; the latest of all that is told stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactNames {
    /// Whom.
    pub contact_id: ContactId,
    /// As they call themselves.
    pub name: Option<(Millis, String)>,
    /// Their user name: it stands in fewer of Meta's payloads than the name, so it has a time of its own.
    pub username: Option<(Millis, String)>,
}

impl ContactNames {
    /// When each was told.
    pub fn times(&self) -> NamesTold {
        NamesTold {
            name_at: self.name.as_ref().map(|(at, _)| *at),
            username_at: self.username.as_ref().map(|(at, _)| *at),
        }
    }
}

/// The names that a contact bears, and when each was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownNames {
    /// As they call themselves.
    pub name: Option<String>,
    /// Since when.
    pub name_at: Millis,
    /// Their user name.
    pub username: Option<String>,
    /// Since when.
    pub username_at: Millis,
}

impl KnownNames {
    /// Whether nothing else was told.
    pub fn are(&self, told: &ContactNames) -> bool {
        let is = |known: &Option<String>, told: &Option<(Millis, String)>| match told {
            Some((_, told)) => known.as_ref() == Some(told),
            None => true,
        };
        is(&self.name, &told.name) && is(&self.username, &told.username)
    }
}

/// Whether a name that is told is to stand in place of the one that is known.
macro_rules! later {
    ($name:literal) => {
        concat!(
            "(r.",
            $name,
            "_at > contacts.",
            $name,
            "_at OR (r.",
            $name,
            "_at = contacts.",
            $name,
            "_at AND r.",
            $name,
            " {postgres COLLATE \"C\"} > COALESCE(contacts.",
            $name,
            ", '')))"
        )
    };
}

/// Whose an identity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The contact.
    pub contact: ContactId,
    /// When it was first seen to be theirs, by Meta's time.
    pub seen_at: Millis,
}

impl Tx<'_> {
    /// Which contacts have these identities; keys that nobody has are absent from the answer. The identities, whether or not somebody has them, and the
    /// contacts are locked until the unit ends ([`Tx::owners_of_identities`], [`Tx::lock_contacts`]).
    pub fn contacts_by_identities(
        &mut self,
        keys: &[IdentityKey],
    ) -> Result<Vec<(IdentityKey, ContactId)>, StoreError> {
        let owners = self.owners_of_identities(&keys.iter().collect::<Vec<_>>())?;
        let owners: Vec<_> = owners.into_iter().map(|(key, owner)| (key, owner.contact)).collect();
        self.lock_contacts(owners.iter().map(|(_, contact)| *contact))?;
        Ok(owners)
    }

    /// Whose these identities are, and since when; those that nobody has are absent from the answer. Each is locked until the unit ends, so that two units
    /// cannot make two contacts of one person. To be followed by [`Tx::lock_contacts`] before anything is done with their owners.
    pub fn owners_of_identities(&mut self, keys: &[&IdentityKey]) -> Result<Vec<(IdentityKey, Owner)>, StoreError> {
        self.lock_names(
            keys.iter()
                .map(|key| [key.kind.as_str(), key.scope.as_str(), key.value.as_str()]),
        )?;
        let mut rows = Rows::new();
        for key in keys {
            rows.push(params![key.kind.as_str(), &key.scope, &key.value]);
        }
        let found = self.query_rows(
            "SELECT i.kind, i.scope, i.value, i.contact_id, i.seen_at FROM {each r: kind text, scope text, value text} contact_identities AS i
             WHERE i.kind = r.kind AND i.scope = r.scope AND i.value = r.value",
            &rows,
        )?;
        found
            .iter()
            .map(|row| {
                let key = IdentityKey {
                    kind: row.get(0)?,
                    scope: row.get(1)?,
                    value: row.get(2)?,
                };
                let owner = Owner {
                    contact: row.get(3)?,
                    seen_at: row.get(4)?,
                };
                Ok((key, owner))
            })
            .collect()
    }

    /// Locks contacts until the unit ends, so that none is merged away while something is put into its conversations; answers with their names. One that
    /// was merged since its identities were looked for is a [`StoreError::Conflict`].
    pub fn lock_contacts(
        &mut self,
        ids: impl IntoIterator<Item = ContactId>,
    ) -> Result<HashMap<ContactId, KnownNames>, StoreError> {
        let ids: BTreeSet<ContactId> = ids.into_iter().collect();
        let mut rows = Rows::new();
        for id in &ids {
            rows.push(params![id]);
        }
        let found = self.query_rows(
            "SELECT c.id, c.merged_into, c.name, c.name_at, c.username, c.username_at FROM {each r: id blob} contacts AS c
             WHERE c.id = r.id ORDER BY c.id {lock c}",
            &rows,
        )?;
        found
            .iter()
            .map(|row| {
                if row.get::<Option<ContactId>>(1)?.is_some() {
                    return Err(StoreError::Conflict(
                        "a contact was merged while it was waited for".to_owned(),
                    ));
                }
                let known = KnownNames {
                    name: row.get(2)?,
                    name_at: row.get(3)?,
                    username: row.get(4)?,
                    username_at: row.get(5)?,
                };
                Ok((row.get(0)?, known))
            })
            .collect()
    }

    /// The addresses of many people at once, in no particular order.
    pub fn identities_of_contacts(&mut self, ids: &[ContactId]) -> Result<Vec<(ContactId, Identity)>, StoreError> {
        let mut rows = Rows::new();
        for id in ids {
            rows.push(params![id]);
        }
        let found = self.query_rows(
            "SELECT i.contact_id, i.kind, i.scope, i.value, i.shown, i.seen_at FROM {each r: id blob} contact_identities AS i
             WHERE i.contact_id = r.id",
            &rows,
        )?;
        found
            .iter()
            .map(|row| {
                let key = IdentityKey {
                    kind: row.get(1)?,
                    scope: row.get(2)?,
                    value: row.get(3)?,
                };
                let identity = Identity {
                    key,
                    shown: row.get(4)?,
                    seen_at: row.get(5)?,
                };
                Ok((row.get(0)?, identity))
            })
            .collect()
    }

    /// The addresses of a contact, the last used first.
    pub fn identities_of_contact(&mut self, id: ContactId) -> Result<Vec<Identity>, StoreError> {
        let rows = self.query(
            "SELECT kind, scope, value, shown, seen_at FROM contact_identities WHERE contact_id = ?1 ORDER BY seen_at DESC, kind, value",
            params![&id],
        )?;
        rows.iter()
            .map(|row| {
                Ok(Identity {
                    key: IdentityKey {
                        kind: row.get(0)?,
                        scope: row.get(1)?,
                        value: row.get(2)?,
                    },
                    shown: row.get(3)?,
                    seen_at: row.get(4)?,
                })
            })
            .collect()
    }

    /// These contacts, in no particular order; those that were merged into others are absent.
    pub fn contacts_by_ids(&mut self, ids: &[ContactId]) -> Result<Vec<Contact>, StoreError> {
        let mut rows = Rows::new();
        for id in ids {
            rows.push(params![id]);
        }
        let found = self.query_rows(
            "SELECT c.id, c.name, c.name_at, c.username, c.picture_url, c.profile_stale_at, c.created_at
             FROM {each r: id blob} contacts AS c WHERE c.id = r.id AND c.merged_into IS NULL",
            &rows,
        )?;
        found.iter().map(|row| contact(row, 0)).collect()
    }

    /// A contact; one that was merged into another comes back as that other one.
    pub fn contact_by_id(&mut self, id: ContactId) -> Result<Option<Contact>, StoreError> {
        let mut id = id;
        // Merges go to contacts that are not merged, and move those that were merged before along; so one step is enough, and the second
        // one is for a merge that came in between.
        for _ in 0..3 {
            let Some(row) = self.query_opt(
                "SELECT id, name, name_at, username, picture_url, profile_stale_at, created_at, merged_into FROM contacts WHERE id = ?1",
                params![&id],
            )?
            else {
                return Ok(None);
            };
            match row.get::<Option<ContactId>>(7)? {
                Some(into) => id = into,
                None => return contact(&row, 0).map(Some),
            }
        }
        Ok(None)
    }

    /// The Instagram-scoped id, within an account, of the one contact that has this user name; `None` where nobody is known by it, or several are: user
    /// names change hands.
    pub fn igsid_of_username(&mut self, account: &str, username: &str) -> Result<Option<String>, StoreError> {
        let rows = self.query(
            "SELECT i.contact_id, i.value FROM contacts AS c
             JOIN contact_identities AS i ON i.contact_id = c.id AND i.kind = 'igsid' AND i.scope = ?1
             WHERE c.username = ?2 AND c.merged_into IS NULL ORDER BY i.seen_at DESC, i.value LIMIT 10",
            params![account, username],
        )?;
        let mut found: Option<(ContactId, String)> = None;
        for row in &rows {
            let contact: ContactId = row.get(0)?;
            match &found {
                Some((known, _)) if *known != contact => return Ok(None),
                Some(_) => {}
                None => found = Some((contact, row.get(1)?)),
            }
        }
        Ok(found.map(|(_, igsid)| igsid))
    }

    /// Locks a contact until the unit ends; answers with its id, which of one that was merged into another is that other one's.
    pub fn lock_contact(&mut self, id: ContactId) -> Result<Option<ContactId>, StoreError> {
        let mut id = id;
        for _ in 0..3 {
            let row = self.query_opt(
                "SELECT c.merged_into FROM contacts AS c WHERE c.id = ?1 {lock c}",
                params![&id],
            )?;
            match row.map(|row| row.get::<Option<ContactId>>(0)).transpose()? {
                None => return Ok(None),
                Some(None) => return Ok(Some(id)),
                Some(Some(into)) => id = into,
            }
        }
        Ok(None)
    }

    /// Keeps new contacts.
    pub fn insert_contacts(&mut self, contacts: &[(Contact, Option<Millis>)]) -> Result<(), StoreError> {
        let searched: Vec<Option<String>> = contacts
            .iter()
            .map(|(contact, _)| contact.name.as_deref().map(searched))
            .collect();
        let mut rows = Rows::new();
        for ((contact, profile_due_at), searched) in contacts.iter().zip(&searched) {
            rows.push(params![
                &contact.id,
                &contact.name,
                searched,
                contact.name_at,
                &contact.username,
                &contact.picture_url,
                *profile_due_at,
                contact.profile_stale_at,
                contact.created_at,
            ]);
        }
        self.send_rows(
            "INSERT INTO contacts (id, name, name_searched, name_at, username, username_at, picture_url, profile_due_at, profile_stale_at, created_at)
             {insert r.id, r.name, r.name_searched, r.name_at, r.username, r.name_at, r.picture_url, r.profile_due_at, r.profile_stale_at, r.created_at of r: id blob, name text, name_searched text, name_at int, username text, picture_url text, profile_due_at int,
                profile_stale_at int, created_at int}",
            &rows,
        )
    }

    /// Brings together when the names of these contacts were told last: with the contacts, and in their conversations
    /// ([`NamesTold`]). Needed before anything is compared with names that are told.
    pub fn gather_names_told(&mut self, ids: &[ContactId]) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for id in ids {
            rows.push(params![id]);
        }
        self.send_rows(
            "UPDATE contacts SET
                name_at = {sqlite MAX}{postgres GREATEST}(name_at, COALESCE(
                    (SELECT MAX(v.name_told_at) FROM conversations AS v WHERE v.contact_id = contacts.id), 0)),
                username_at = {sqlite MAX}{postgres GREATEST}(username_at, COALESCE(
                    (SELECT MAX(v.username_told_at) FROM conversations AS v WHERE v.contact_id = contacts.id), 0))
             {from r: id blob} WHERE contacts.id = r.id",
            &rows,
        )
    }

    /// Writes names and user names of known contacts, where the ones given are newer; of two of one time the greater stands, so that their
    /// order does not matter. No contact may stand twice in the list.
    pub fn update_contact_names(&mut self, told: &[ContactNames]) -> Result<(), StoreError> {
        let searched: Vec<Option<String>> = told
            .iter()
            .map(|told| told.name.as_ref().map(|(_, name)| searched(name)))
            .collect();
        let mut rows = Rows::new();
        for (told, searched) in told.iter().zip(&searched) {
            let (name, username) = (told.name.as_ref(), told.username.as_ref());
            rows.push(params![
                &told.contact_id,
                name.map(|(_, name)| name),
                searched,
                name.map(|(at, _)| *at),
                username.map(|(_, username)| username),
                username.map(|(at, _)| *at),
            ]);
        }
        self.send_rows(UPDATE_NAMES, &rows)
    }

    /// Binds identities to contacts; one that belonged to another contact changes hands, unless it was seen with that one later. It is shown as it was seen last; of two spellings of
    /// one time the greater stands. No identity may stand twice in the list.
    pub fn bind_identities(&mut self, bindings: &[(Identity, ContactId)]) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for (identity, contact) in bindings {
            let key = &identity.key;
            rows.push(params![
                key.kind.as_str(),
                &key.scope,
                &key.value,
                &identity.shown,
                contact,
                identity.seen_at
            ]);
        }
        self.send_rows(
            "INSERT INTO contact_identities (kind, scope, value, shown, contact_id, seen_at)
             {insert r.kind, r.scope, r.value, r.shown, r.contact_id, r.seen_at of r: kind text, scope text, value text, shown text, contact_id blob, seen_at int}
             ON CONFLICT (kind, scope, value) DO UPDATE SET
                contact_id = CASE WHEN EXCLUDED.seen_at >= contact_identities.seen_at
                    THEN EXCLUDED.contact_id ELSE contact_identities.contact_id END,
                shown = CASE WHEN EXCLUDED.seen_at > contact_identities.seen_at OR (EXCLUDED.seen_at = contact_identities.seen_at
                    AND EXCLUDED.shown {postgres COLLATE \"C\"} > contact_identities.shown)
                    THEN EXCLUDED.shown ELSE contact_identities.shown END,
                seen_at = CASE WHEN EXCLUDED.seen_at > contact_identities.seen_at
                    THEN EXCLUDED.seen_at ELSE contact_identities.seen_at END",
            &rows,
        )
    }

    /// Makes one contact of two: identities go over, and the old id leads to the new one. Conversations are moved apart, by
    /// [`Tx::move_conversation`].
    pub fn merge_contacts(&mut self, from: ContactId, into: ContactId) -> Result<(), StoreError> {
        self.send(
            "UPDATE contact_identities SET contact_id = ?2 WHERE contact_id = ?1",
            params![&from, &into],
        )?;
        // What is told of one of the two is told of both: the same rules as in `update_contact_names`.
        self.send(
            "UPDATE contacts SET name = o.name, name_searched = o.name_searched, name_at = o.name_at FROM contacts AS o
             WHERE contacts.id = ?2 AND o.id = ?1 AND o.name IS NOT NULL AND (o.name_at > contacts.name_at
                OR (o.name_at = contacts.name_at AND o.name {postgres COLLATE \"C\"} > COALESCE(contacts.name, '')))",
            params![&from, &into],
        )?;
        self.send(
            "UPDATE contacts SET username = o.username, username_at = o.username_at FROM contacts AS o
             WHERE contacts.id = ?2 AND o.id = ?1 AND o.username IS NOT NULL AND (o.username_at > contacts.username_at
                OR (o.username_at = contacts.username_at AND o.username {postgres COLLATE \"C\"} > COALESCE(contacts.username, '')))",
            params![&from, &into],
        )?;
        self.send(
            "UPDATE contacts SET picture_url = COALESCE(contacts.picture_url, o.picture_url),
                profile_due_at = COALESCE(contacts.profile_due_at, o.profile_due_at),
                profile_stale_at = COALESCE(contacts.profile_stale_at, o.profile_stale_at),
                created_at = CASE WHEN o.created_at < contacts.created_at THEN o.created_at ELSE contacts.created_at END
             FROM contacts AS o WHERE contacts.id = ?2 AND o.id = ?1",
            params![&from, &into],
        )?;
        // Of what both have said the latest stands, as if one had said it all.
        self.send(
            "UPDATE consent_statements SET contact_id = ?2 WHERE contact_id = ?1",
            params![&from, &into],
        )?;
        self.merge_marketing_caps(from, into)?;
        self.send(
            "UPDATE contacts SET merged_into = ?2 WHERE merged_into = ?1",
            params![&from, &into],
        )?;
        self.send(
            "UPDATE contacts SET merged_into = ?2, profile_due_at = NULL WHERE id = ?1",
            params![&from, &into],
        )
    }

    /// Contacts whose profile Meta should be asked for, the longest due first, with the address to ask with; they become due again at
    /// `again_at` unless [`Tx::update_profile`] says otherwise.
    pub fn take_due_profiles(
        &mut self,
        now: Millis,
        again_at: Millis,
        limit: u32,
    ) -> Result<Vec<(ContactId, Identity)>, StoreError> {
        let rows = self.query(
            "SELECT c.id, i.kind, i.scope, i.value, i.shown, i.seen_at
             FROM contacts AS c CROSS JOIN contact_identities AS i
             WHERE c.profile_due_at <= ?1 AND i.contact_id = c.id AND i.kind = 'igsid' ORDER BY c.profile_due_at LIMIT ?2 {take c}",
            params![now, limit],
        )?;
        let due: Vec<(ContactId, Identity)> = rows
            .iter()
            .map(|row| {
                let key = IdentityKey {
                    kind: row.get(1)?,
                    scope: row.get(2)?,
                    value: row.get(3)?,
                };
                Ok((
                    row.get(0)?,
                    Identity {
                        key,
                        shown: row.get(4)?,
                        seen_at: row.get(5)?,
                    },
                ))
            })
            .collect::<Result<_, StoreError>>()?;
        let mut again = Rows::new();
        for (id, _) in &due {
            again.push(params![id, again_at]);
        }
        self.send_rows(
            "UPDATE contacts SET profile_due_at = r.due_at {from r: id blob, due_at int} WHERE contacts.id = r.id",
            &again,
        )?;
        Ok(due)
    }

    /// These contacts have been heard of: of those whose profiles are stale, Meta is asked for them from now on.
    pub fn want_stale_profiles(&mut self, ids: &[ContactId], now: Millis) -> Result<(), StoreError> {
        let mut rows = Rows::new();
        for id in ids {
            rows.push(params![id, now]);
        }
        self.send_rows(
            "UPDATE contacts SET profile_due_at = r.now, profile_stale_at = NULL
             {from r: id blob, now int} WHERE contacts.id = r.id AND contacts.profile_due_at IS NULL AND contacts.profile_stale_at <= r.now",
            &rows,
        )
    }

    /// Writes what Meta said of a contact, and from when on that is stale.
    pub fn update_profile(
        &mut self,
        id: ContactId,
        name: Option<&str>,
        username: Option<&str>,
        picture_url: Option<&str>,
        now: Millis,
        stale_at: Millis,
    ) -> Result<(), StoreError> {
        let searched = name.map(searched);
        self.send(
            "UPDATE contacts SET name = COALESCE(?2, name), name_searched = COALESCE(?7, name_searched), name_at = ?5,
                username = COALESCE(?3, username), username_at = ?5, picture_url = ?4, profile_due_at = NULL, profile_stale_at = ?6 WHERE id = ?1",
            params![&id, name, username, picture_url, now, stale_at, &searched],
        )
    }

    /// Contacts, the newest first.
    pub fn contacts(&mut self, before: Option<ContactId>, limit: u32) -> Result<Vec<Contact>, StoreError> {
        let before = before.unwrap_or(ContactId::MAX);
        let rows = self.query(
            "SELECT id, name, name_at, username, picture_url, profile_stale_at, created_at FROM contacts
             WHERE id < ?1 AND merged_into IS NULL ORDER BY id DESC LIMIT ?2",
            params![&before, limit],
        )?;
        rows.iter().map(|row| contact(row, 0)).collect()
    }
}

/// Both names in one go, since both are mostly told, and a row is written as a whole. What is not told is null, and later than nothing.
const UPDATE_NAMES: &str = concat!(
    "UPDATE contacts SET name = CASE WHEN ",
    later!("name"),
    " THEN r.name ELSE contacts.name END, name_searched = CASE WHEN ",
    later!("name"),
    " THEN r.searched ELSE contacts.name_searched END, name_at = CASE WHEN ",
    later!("name"),
    " THEN r.name_at ELSE contacts.name_at END, username = CASE WHEN ",
    later!("username"),
    " THEN r.username ELSE contacts.username END, username_at = CASE WHEN ",
    later!("username"),
    " THEN r.username_at ELSE contacts.username_at END
     {from r: id blob, name text, searched text, name_at int, username text, username_at int} WHERE contacts.id = r.id AND (",
    later!("name"),
    " OR ",
    later!("username"),
    ")"
);

/// A name in the form in which it is looked for: neither engine folds the case of letters beyond ASCII by itself.
pub(super) fn searched(name: &str) -> String {
    name.to_lowercase()
}

fn contact(row: &Row, first: usize) -> Result<Contact, StoreError> {
    Ok(Contact {
        id: row.get(first)?,
        name: row.get(first + 1)?,
        name_at: row.get(first + 2)?,
        username: row.get(first + 3)?,
        picture_url: row.get(first + 4)?,
        profile_stale_at: row.get(first + 5)?,
        created_at: row.get(first + 6)?,
    })
}

impl FromValue for IdentityKind {
    fn from_value(value: &Value) -> Option<Self> {
        Self::from_word(&String::from_value(value)?)
    }
}
