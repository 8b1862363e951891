//! Who an event is about: addresses, bound to contacts; contacts, merged where two turn out to be one.
//!
//! The rules (reference `whatsapp.md` 6.6):
//! - Addresses that stand in one event belong to one contact.
//! - Where they are known from two contacts, these are merged into the older one — unless the two have different user ids: then the
//!   phone number has changed hands, goes to the one who uses it now, and nothing of the other's history is shown to them.
//! - An event that is older than the one that bound an address to its contact does not take it away.
//! - The id that linked portfolios share says nothing about being one person when the user ids differ.
//!
//! For events whose addresses agree with each other, the order in which they come makes no difference to who ends up one contact.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::conversations::model::{Contact, Conversation, Identity, IdentityKey, IdentityKind, Millis};
use crate::conversations::phone;
use crate::conversations::understand::{Effect, Person, Understood};
use crate::ids::{ContactId, ConversationId, Ids};
use crate::store::contacts::{ContactNames, KnownNames, Owner};
use crate::store::{StoreError, Tx};

/// What a batch found out about people.
#[derive(Debug, Default)]
pub struct People {
    by_identity: HashMap<IdentityKey, Owner>,
    /// Of those whom addresses were known to lead to, as long as nobody was merged.
    names: HashMap<ContactId, KnownNames>,
    created: Vec<Contact>,
    named: BTreeMap<ContactId, ContactNames>,
    bindings: BTreeMap<IdentityKey, (Identity, ContactId)>,
    merged: HashMap<ContactId, ContactId>,
    /// Contacts that were merged, with what they were merged into, and the index of the event that told it.
    pub merges: Vec<(usize, ContactId, ContactId)>,
    /// The index of the event that is looked at.
    event: usize,
    /// Whether that is a comment: who has only commented has not agreed to have their profile read (reference `instagram.md` 3.10).
    is_comment: bool,
    /// Addresses that nobody had before.
    pub new: Vec<IdentityKey>,
    /// Conversations that were merged, with what they were merged into.
    pub merged_conversations: Vec<(ConversationId, ConversationId)>,
    /// Names that were told once more, and are known: when that was has yet to be written, with the conversation that it was told in or by
    /// [`Tx::update_contact_names`].
    pub told_again: BTreeMap<ContactId, ContactNames>,
}

impl People {
    /// Locks everybody whom these events are about, in one order. For a unit that goes on to look at them in several batches: two that did so, each in
    /// an order of its own, would wait for each other.
    pub fn lock(tx: &mut Tx<'_>, events: &[&Understood]) -> Result<(), StoreError> {
        let owners = tx.owners_of_identities(&keys_of(events.iter().copied()))?;
        tx.lock_contacts(owners.into_iter().map(|(_, owner)| owner.contact))?;
        Ok(())
    }

    /// Finds out, for each of the events, which contact it is about; contacts, addresses and merges are written.
    pub fn resolve(
        tx: &mut Tx<'_>,
        events: &[(&Understood, Millis)],
        ids: &Ids,
        now: Millis,
    ) -> Result<(Self, Vec<Option<ContactId>>), StoreError> {
        let keys = keys_of(events.iter().map(|(understood, _)| *understood));
        let mut people = Self::default();
        people.by_identity.extend(tx.owners_of_identities(&keys)?);
        people.names = tx.lock_contacts(people.by_identity.values().map(|owner| owner.contact))?;
        let mut resolved = Vec::with_capacity(events.len());
        for (index, (understood, at)) in events.iter().enumerate() {
            people.event = index;
            resolved.push(people.resolve_one(tx, understood, *at, ids, now)?);
        }
        people.set_known_names_apart();
        people.save(tx, now)?;
        for contact in &mut resolved {
            *contact = contact.map(|id| people.current(id));
        }
        // Only Instagram has profiles that are asked for: its webhooks bear no names.
        let mut heard_of: Vec<ContactId> = events
            .iter()
            .zip(&resolved)
            .filter(|((understood, _), _)| {
                has_written(understood)
                    && addresses(understood).any(|identity| identity.key.kind == IdentityKind::Igsid)
            })
            .filter_map(|(_, contact)| *contact)
            .collect();
        heard_of.sort_unstable();
        heard_of.dedup();
        tx.want_stale_profiles(&heard_of, now)?;
        Ok((people, resolved))
    }

    fn resolve_one(
        &mut self,
        tx: &mut Tx<'_>,
        understood: &Understood,
        at: Millis,
        ids: &Ids,
        now: Millis,
    ) -> Result<Option<ContactId>, StoreError> {
        let moved_to: &[Identity] = if let Effect::Moved { to, .. } = &understood.effect {
            to
        } else {
            &[]
        };
        let nobody = Person {
            identities: Vec::new(),
            name: None,
            username: None,
        };
        let person = understood.person.as_ref().unwrap_or(&nobody);
        if person.identities.is_empty() && moved_to.is_empty() {
            return Ok(None);
        }
        // Who is not known yet would not be known by it afterwards either: so it must not tell more of those who are.
        if matches!(understood.effect, Effect::Nothing) {
            return Ok(None);
        }
        self.is_comment = is_comment(understood);
        // A receipt tells about people that we wrote to; it does not make new ones.
        let creates = !matches!(understood.effect, Effect::Receipt { .. });
        // Of somebody who has moved, the old address is remembered also where it was not known: what they wrote from there may come later.
        let mut addresses = person.identities.clone();
        if addresses.is_empty() {
            addresses.extend_from_slice(moved_to);
        } else if !moved_to.is_empty() {
            // What they left is not where they are written to, also if nothing has come from the new place yet.
            for left in &mut addresses {
                left.seen_at -= 1;
            }
        }
        let Some(contact) = self.contact_of(tx, &addresses, creates, at, ids, now)? else {
            return Ok(None);
        };
        let contact = self.moved(tx, contact, moved_to, now)?;
        self.name(contact, person, at);
        Ok(Some(contact))
    }

    /// The contact with these addresses, which are bound to it.
    fn contact_of(
        &mut self,
        tx: &mut Tx<'_>,
        identities: &[Identity],
        create: bool,
        at: Millis,
        ids: &Ids,
        now: Millis,
    ) -> Result<Option<ContactId>, StoreError> {
        if identities.is_empty() {
            return Ok(None);
        }
        let mut chosen: Option<ContactId> = None;
        for identity in identities {
            let Some(known) = self.known(&identity.key) else {
                continue;
            };
            chosen = Some(match chosen {
                None if self.has_other_user_id(tx, known, identities)? => continue,
                None => known,
                Some(chosen) if chosen == known => chosen,
                Some(chosen) if self.has_other_user_id(tx, known, identities)? => chosen,
                Some(chosen) => self.merge(tx, known, chosen, now)?,
            });
        }
        let contact = match chosen {
            Some(contact) => contact,
            None if create => self.create(at, ids, now),
            None => return Ok(None),
        };
        for identity in identities {
            self.bind(identity, contact);
        }
        Ok(Some(contact))
    }

    /// The contact has new addresses: whoever had them is the same person.
    fn moved(
        &mut self,
        tx: &mut Tx<'_>,
        contact: ContactId,
        to: &[Identity],
        now: Millis,
    ) -> Result<ContactId, StoreError> {
        let mut contact = contact;
        for identity in to {
            if let Some(other) = self.known(&identity.key)
                && other != contact
            {
                contact = self.merge(tx, other, contact, now)?;
            }
        }
        for identity in to {
            self.bind(identity, contact);
        }
        Ok(contact)
    }

    fn known(&self, key: &IdentityKey) -> Option<ContactId> {
        self.by_identity.get(key).map(|owner| self.current(owner.contact))
    }

    fn current(&self, id: ContactId) -> ContactId {
        let mut id = id;
        while let Some(into) = self.merged.get(&id) {
            id = *into;
        }
        id
    }

    /// Whether a contact is known by a user id, and it is not the one among `identities`.
    fn has_other_user_id(
        &self,
        tx: &mut Tx<'_>,
        contact: ContactId,
        identities: &[Identity],
    ) -> Result<bool, StoreError> {
        let Some(user_id) = identities
            .iter()
            .find(|identity| identity.key.kind == IdentityKind::UserId)
        else {
            return Ok(false);
        };
        if self.known(&user_id.key) == Some(contact) {
            return Ok(false);
        }
        let pending = self
            .bindings
            .values()
            .any(|(identity, owner)| identity.key.kind == IdentityKind::UserId && self.current(*owner) == contact);
        if pending || self.created.iter().any(|created| created.id == contact) {
            return Ok(pending);
        }
        let stored = tx.identities_of_contact(contact)?;
        Ok(stored.iter().any(|identity| identity.key.kind == IdentityKind::UserId))
    }

    fn create(&mut self, at: Millis, ids: &Ids, now: Millis) -> ContactId {
        let id: ContactId = ids.next();
        self.created.push(Contact {
            id,
            name: None,
            name_at: 0,
            username: None,
            picture_url: None,
            // It is asked for once they write.
            profile_stale_at: self.is_comment.then_some(now),
            created_at: now.min(at),
        });
        id
    }

    fn bind(&mut self, identity: &Identity, contact: ContactId) {
        let before = self.known(&identity.key);
        if before.is_none() {
            self.new.push(identity.key.clone());
        }
        let owner = self.by_identity.entry(identity.key.clone()).or_insert(Owner {
            contact,
            seen_at: identity.seen_at,
        });
        // What is told late, or once more, does not give a number back to whoever had it before.
        if before.is_some_and(|before| before != contact) && owner.seen_at > identity.seen_at {
            return;
        }
        if before != Some(contact) {
            *owner = Owner {
                contact,
                seen_at: identity.seen_at,
            };
        }
        match self.bindings.get_mut(&identity.key) {
            Some((bound, owner)) => {
                *owner = contact;
                // Of two spellings of one moment the greater stands, so that their order does not matter.
                if (identity.seen_at, &identity.shown) > (bound.seen_at, &bound.shown) {
                    *bound = identity.clone();
                }
            }
            // What is bound already need not be written again for every message, unless the number may be written in another way.
            None if before == Some(contact) && !has_variants(&identity.key) => {}
            None => {
                self.bindings.insert(identity.key.clone(), (identity.clone(), contact));
            }
        }
    }

    /// Also a name that is known already is told with its time: somebody may take an earlier name again, and what Meta said in between
    /// may come after what it says now.
    fn name(&mut self, contact: ContactId, person: &Person, at: Millis) {
        if person.name.is_none() && person.username.is_none() {
            return;
        }
        let named = self.named.entry(contact).or_insert(ContactNames {
            contact_id: contact,
            name: None,
            username: None,
        });
        named.name = named.name.take().max(person.name.clone().map(|name| (at, name)));
        named.username = named
            .username
            .take()
            .max(person.username.clone().map(|username| (at, username)));
    }

    /// Makes one contact of two, the older of which stays; answers with that one.
    fn merge(&mut self, tx: &mut Tx<'_>, a: ContactId, b: ContactId, now: Millis) -> Result<ContactId, StoreError> {
        let (into, from) = if a < b { (a, b) } else { (b, a) };
        // What this batch has made so far has to be there before it can be merged; what names there were before it does not hold any more.
        self.save(tx, now)?;
        self.names.clear();
        tx.gather_names_told(&[from, into])?;
        let theirs = tx.lock_conversations_of_contact(from)?;
        let ours = tx.lock_conversations_of_contact(into)?;
        for conversation in &theirs {
            let same = |ours: &&Conversation| {
                (&ours.channel_id, &ours.venue) == (&conversation.channel_id, &conversation.venue)
            };
            match ours.iter().find(same) {
                None => tx.move_conversation(conversation.id, into)?,
                Some(target) => {
                    let mut target: Conversation = target.clone();
                    target.absorb(conversation);
                    tx.merge_conversations(conversation, &target)?;
                    tx.update_conversations(&[&target])?;
                    self.merged_conversations.push((conversation.id, target.id));
                }
            }
        }
        tx.merge_contacts(from, into)?;
        self.merged.insert(from, into);
        self.merges.push((self.event, from, into));
        Ok(into)
    }

    /// Most names that are told are those that are known.
    fn set_known_names_apart(&mut self) {
        let known = &self.names;
        self.told_again = self
            .named
            .extract_if(.., |id, told| known.get(id).is_some_and(|known| known.are(told)))
            .collect();
    }

    fn save(&mut self, tx: &mut Tx<'_>, now: Millis) -> Result<(), StoreError> {
        let bindings: Vec<(Identity, ContactId)> = std::mem::take(&mut self.bindings).into_values().collect();
        // Instagram's webhooks carry no name: ask for it.
        let wants_profile: HashSet<ContactId> = bindings
            .iter()
            .filter(|(identity, _)| identity.key.kind == IdentityKind::Igsid)
            .map(|(_, contact)| *contact)
            .collect();
        let created: Vec<(Contact, Option<Millis>)> = std::mem::take(&mut self.created)
            .into_iter()
            .map(|contact| {
                let is_due = contact.profile_stale_at.is_none() && wants_profile.contains(&contact.id);
                let profile_due_at = is_due.then_some(now);
                (contact, profile_due_at)
            })
            .collect();
        tx.insert_contacts(&created)?;
        let new: HashSet<ContactId> = created.iter().map(|(contact, _)| contact.id).collect();
        let named: Vec<ContactNames> = std::mem::take(&mut self.named).into_values().collect();
        let renamed = named.iter().map(|named| named.contact_id);
        // Who is new has no conversation yet that could know of names.
        tx.gather_names_told(&renamed.filter(|contact| !new.contains(contact)).collect::<Vec<_>>())?;
        tx.update_contact_names(&named)?;
        let bindings: Vec<(Identity, ContactId)> = bindings
            .into_iter()
            .map(|(identity, contact)| (identity, self.current(contact)))
            .collect();
        tx.bind_identities(&bindings)
    }
}

/// Whether the person has written to the account, which is agreement enough to have their profile read (reference `instagram.md` 3.10).
fn has_written(understood: &Understood) -> bool {
    matches!(&understood.effect, Effect::Said(said) if !said.outbound && said.comment.is_none())
}

fn is_comment(understood: &Understood) -> bool {
    matches!(&understood.effect, Effect::Said(said) if said.comment.is_some())
}

/// Whether Meta may write the identity in more than one way; all others are written as they are compared.
fn has_variants(key: &IdentityKey) -> bool {
    key.kind == IdentityKind::Phone && phone::has_variants(&key.value)
}

/// The addresses that events name, in the order in which they are stored.
fn keys_of<'e>(events: impl Iterator<Item = &'e Understood>) -> Vec<&'e IdentityKey> {
    let mut keys: Vec<&IdentityKey> = events.flat_map(addresses).map(|identity| &identity.key).collect();
    keys.sort_unstable_by_key(|key| (&key.value, key.kind, &key.scope));
    keys.dedup();
    keys
}

fn addresses(understood: &Understood) -> impl Iterator<Item = &Identity> {
    let moved: &[Identity] = if let Effect::Moved { to, .. } = &understood.effect {
        to
    } else {
        &[]
    };
    understood
        .person
        .iter()
        .flat_map(|person| &person.identities)
        .chain(moved)
}
