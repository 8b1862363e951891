//! Contacts and their identities.

use futures_util::future::join_all;
use tidings::conversations::model::{Contact, Identity, Millis};
use tidings::ids::ContactId;
use tidings::store::contacts::ContactNames;
use tidings::store::{StoreError, Tx};

use crate::harness::{BEGIN, Lab, on_both, on_postgres};
use crate::samples::{channels, contact, conversation_with, igsid, phone, user_id, whatsapp};

async fn keep(lab: &Lab, contact: &Contact, identities: &[Identity]) {
    let (contact, identities) = (contact.clone(), identities.to_vec());
    lab.write(move |tx| {
        tx.insert_contacts(&[(contact.clone(), None)])?;
        let bindings: Vec<(Identity, ContactId)> = identities
            .iter()
            .map(|identity| (identity.clone(), contact.id))
            .collect();
        tx.bind_identities(&bindings)
    })
    .await;
}

async fn by_id(lab: &Lab, id: ContactId) -> Option<Contact> {
    lab.read(move |tx| tx.contact_by_id(id)).await
}

async fn identities(lab: &Lab, id: ContactId) -> Vec<Identity> {
    lab.read(move |tx| tx.identities_of_contact(id)).await
}

#[test]
fn a_contact_is_found_by_each_of_its_identities() {
    on_both(async |lab| {
        let (priya, tom) = (contact(lab, "Priya Shah"), contact(lab, "Tom"));
        keep(lab, &priya, &[phone("447700900123"), user_id("GB.1")]).await;
        keep(
            lab,
            &tom,
            &[phone("447700900777"), igsid("17841470000000101", "5550001110001")],
        )
        .await;
        assert_eq!(by_id(lab, priya.id).await, Some(priya.clone()));
        assert_eq!(by_id(lab, lab.ids.next()).await, None);

        let keys = [
            phone("447700900123"),
            user_id("GB.1"),
            phone("447700900777"),
            user_id("GB.404"),
            igsid("another", "5550001110001"),
        ]
        .map(|identity| identity.key);
        let wanted = keys.clone();
        let mut found = lab.write(move |tx| tx.contacts_by_identities(&wanted)).await;
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut expected = vec![
            (keys[0].clone(), priya.id),
            (keys[1].clone(), priya.id),
            (keys[2].clone(), tom.id),
        ];
        expected.sort_by(|(a, _), (b, _)| a.cmp(b));
        assert_eq!(found, expected);
        assert_eq!(lab.write(|tx| tx.contacts_by_identities(&[])).await, []);

        // An older event does not take an address away, a newer one does; since when it is somebody's is known.
        let shared = phone("447700900777");
        let owner = async || {
            let keys = [shared.key.clone()];
            let owners = lab
                .write(move |tx| tx.owners_of_identities(&keys.iter().collect::<Vec<_>>()))
                .await;
            (owners[0].1.contact, owners[0].1.seen_at)
        };
        for (seen_at, expected) in [
            (shared.seen_at - 1, (tom.id, shared.seen_at)),
            (shared.seen_at + 1, (priya.id, shared.seen_at + 1)),
        ] {
            let binding = Identity {
                seen_at,
                ..shared.clone()
            };
            lab.write(move |tx| tx.bind_identities(&[(binding.clone(), priya.id)]))
                .await;
            assert_eq!(owner().await, expected);
        }

        let all = lab.read(|tx| tx.contacts(None, 10)).await;
        let ids = [all[1].id, lab.ids.next(), all[0].id];
        let mut found = lab.read(move |tx| tx.contacts_by_ids(&ids)).await;
        found.sort_by_key(|contact| std::cmp::Reverse(contact.id));
        assert_eq!(found, all);
    });
}

#[test]
fn identities_change_hands_and_are_shown_as_they_were_last_written() {
    on_both(async |lab| {
        let (priya, tom) = (contact(lab, "Priya Shah"), contact(lab, "Tom"));
        keep(lab, &priya, &[phone("551187654321"), user_id("GB.1")]).await;
        keep(lab, &tom, &[]).await;
        let spelled = |shown: &str, seen_at: Millis| Identity {
            shown: shown.to_owned(),
            seen_at,
            ..phone("551187654321")
        };
        let bind =
            |identity: Identity, to: ContactId| lab.write(move |tx| tx.bind_identities(&[(identity.clone(), to)]));
        bind(spelled("5511987654321", BEGIN + 10), priya.id).await;
        bind(spelled("551187654321", BEGIN + 5), priya.id).await;
        assert_eq!(
            identities(lab, priya.id).await,
            [spelled("5511987654321", BEGIN + 10), user_id("GB.1")]
        );
        bind(spelled("551187654321", BEGIN + 20), tom.id).await;
        assert_eq!(identities(lab, priya.id).await, [user_id("GB.1")]);
        assert_eq!(identities(lab, tom.id).await, [spelled("551187654321", BEGIN + 20)]);
    });
}

fn named(contact: ContactId, name: Option<(Millis, &str)>, username: Option<(Millis, &str)>) -> ContactNames {
    let owned = |(at, text): (Millis, &str)| (at, text.to_owned());
    ContactNames {
        contact_id: contact,
        name: name.map(owned),
        username: username.map(owned),
    }
}

#[test]
fn the_latest_name_stands_in_whatever_order_they_are_told() {
    on_both(async |lab| {
        let told = [
            (Some((BEGIN + 10, "Priya")), Some((BEGIN + 10, "priya"))),
            (Some((BEGIN + 30, "Priya")), None),
            (Some((BEGIN + 20, "P. Shah")), Some((BEGIN + 20, "p.shah"))),
            (Some((BEGIN + 30, "Älva")), Some((BEGIN + 5, "zoe"))),
        ];
        for rotation in 0..told.len() {
            let someone = Contact {
                name: None,
                name_at: 0,
                ..contact(lab, "")
            };
            keep(lab, &someone, &[]).await;
            let id = someone.id;
            for index in 0..told.len() {
                let (name, username) = told[(index + rotation) % told.len()];
                lab.write(move |tx| tx.update_contact_names(&[named(id, name, username)]))
                    .await;
            }
            let known = by_id(lab, id).await.unwrap();
            assert_eq!(
                known.name.as_deref(),
                Some("Älva"),
                "of two of one time the greater one"
            );
            assert_eq!((known.name_at, known.username.as_deref()), (BEGIN + 30, Some("p.shah")));
        }
    });
}

#[test]
fn a_name_that_was_told_again_in_a_conversation_yields_to_later_ones_only() {
    on_both(async |lab| {
        channels(lab).await;
        let channel = whatsapp();
        let someone = Contact {
            username: Some("priya".to_owned()),
            ..contact(lab, "Priya")
        };
        keep(lab, &someone, &[]).await;
        let id = someone.id;
        let names = lab.write(move |tx| tx.lock_contacts([id])).await;
        let known = names[&id].clone();
        assert!(known.are(&named(id, Some((BEGIN + 90, "Priya")), None)));
        assert!(known.are(&named(id, None, Some((BEGIN + 90, "priya")))));
        assert!(!known.are(&named(id, Some((BEGIN + 90, "Priya")), Some((BEGIN + 90, "p.shah")))));

        let mut conversation = conversation_with(lab, &channel, id);
        conversation.names_told.name_at = Some(BEGIN + 20);
        let kept = conversation.clone();
        lab.write(move |tx| tx.insert_conversations(&[&kept])).await;
        conversation.names_told.name_at = Some(BEGIN + 50);
        conversation.names_told.username_at = Some(BEGIN + 50);
        let told = conversation.clone();
        lab.write(move |tx| tx.update_conversations(&[&told])).await;
        assert_eq!(
            lab.read(move |tx| tx.conversations_of_contact(id)).await,
            [conversation]
        );

        for (at, name, username) in [(30, "Priya", "priya"), (50, "Priya", "priya"), (60, "Anna", "anna")] {
            lab.write(move |tx| {
                tx.gather_names_told(&[id])?;
                tx.update_contact_names(&[named(id, Some((BEGIN + at, "Anna")), Some((BEGIN + at, "anna")))])
            })
            .await;
            let left = by_id(lab, id).await.unwrap();
            assert_eq!(
                (left.name.as_deref(), left.username.as_deref()),
                (Some(name), Some(username)),
                "{at}"
            );
        }
    });
}

#[test]
fn a_merged_contact_leads_to_the_other_one_and_hands_over_what_is_newer() {
    on_both(async |lab| {
        let old = contact(lab, "Priya");
        let middle = Contact {
            created_at: BEGIN - 5,
            ..contact(lab, "P.")
        };
        let newest = Contact {
            name_at: BEGIN + 10,
            username: Some("priya".to_owned()),
            picture_url: Some("https://example.invalid/p".to_owned()),
            ..contact(lab, "Priya Shah")
        };
        keep(lab, &old, &[phone("447700900123")]).await;
        keep(lab, &middle, &[user_id("GB.1")]).await;
        keep(lab, &newest, &[user_id("GB.2")]).await;
        let (old_id, middle_id, newest_id) = (old.id, middle.id, newest.id);
        lab.write(move |tx| tx.merge_contacts(newest_id, middle_id)).await;
        let merged = by_id(lab, newest_id).await.unwrap();
        assert_eq!(merged.id, middle_id);
        assert_eq!(
            (merged.name.as_deref(), merged.username.as_deref()),
            (Some("Priya Shah"), Some("priya"))
        );
        assert_eq!((merged.name_at, merged.created_at), (BEGIN + 10, BEGIN - 5));
        assert_eq!(merged.picture_url.as_deref(), Some("https://example.invalid/p"));

        lab.write(move |tx| tx.merge_contacts(middle_id, old_id)).await;
        for id in [old_id, middle_id, newest_id] {
            assert_eq!(by_id(lab, id).await.unwrap().id, old_id);
        }
        let mut addresses: Vec<String> = identities(lab, old_id)
            .await
            .into_iter()
            .map(|identity| identity.shown)
            .collect();
        addresses.sort();
        assert_eq!(addresses, ["447700900123", "GB.1", "GB.2"]);
        let listed = lab.read(|tx| tx.contacts(None, 10)).await;
        assert_eq!(listed.iter().map(|contact| contact.id).collect::<Vec<_>>(), [old_id]);
    });
}

#[test]
fn contacts_are_listed_newest_first_by_page() {
    on_both(async |lab| {
        let mut ids = Vec::new();
        for number in 0..5 {
            let someone = contact(lab, &format!("Contact {number}"));
            ids.insert(0, someone.id);
            keep(lab, &someone, &[]).await;
        }
        let page = |before: Option<ContactId>| async move {
            let page = lab.read(move |tx| tx.contacts(before, 2)).await;
            page.iter().map(|contact| contact.id).collect::<Vec<_>>()
        };
        assert_eq!(page(None).await, ids[..2]);
        assert_eq!(page(Some(ids[1])).await, ids[2..4]);
        assert_eq!(page(Some(ids[3])).await, ids[4..]);
        assert_eq!(page(Some(ids[4])).await, []);
    });
}

#[test]
fn profiles_are_asked_for_when_due_and_again_later() {
    on_both(async |lab| {
        let nameless = |due_at: Option<Millis>| {
            (
                Contact {
                    name: None,
                    name_at: 0,
                    ..contact(lab, "")
                },
                due_at,
            )
        };
        let people = [nameless(Some(BEGIN + 20)), nameless(Some(BEGIN + 10)), nameless(None)];
        let ids = people.clone().map(|(contact, _)| contact.id);
        let account = "17841470000000101";
        lab.write(move |tx| {
            tx.insert_contacts(&people)?;
            let bindings: Vec<(Identity, ContactId)> = people
                .iter()
                .enumerate()
                .map(|(index, (contact, _))| (igsid(account, &format!("555{index}")), contact.id))
                .collect();
            tx.bind_identities(&bindings)
        })
        .await;
        let due = |now: Millis, limit: u32| lab.write(move |tx| tx.take_due_profiles(now, now + 1_000, limit));
        assert_eq!(due(BEGIN, 10).await, []);
        assert_eq!(
            due(BEGIN + 30, 1).await,
            [(ids[1], igsid(account, "5551"))],
            "the longest due first"
        );
        assert_eq!(due(BEGIN + 30, 10).await, [(ids[0], igsid(account, "5550"))]);
        assert_eq!(due(BEGIN + 1_029, 10).await, []);
        let (first, second) = (ids[0], ids[1]);
        lab.write(move |tx| {
            tx.update_profile(
                first,
                Some("Zoë"),
                Some("zoe"),
                Some("https://example.invalid/z"),
                BEGIN + 40,
                BEGIN + 8_000,
            )?;
            tx.update_profile(second, None, None, None, BEGIN + 40, BEGIN + 9_000)
        })
        .await;
        let known = by_id(lab, first).await.unwrap();
        assert_eq!(
            (known.name.as_deref(), known.username.as_deref()),
            (Some("Zoë"), Some("zoe"))
        );
        assert_eq!(
            (known.picture_url.as_deref(), known.name_at),
            (Some("https://example.invalid/z"), BEGIN + 40)
        );
        lab.write(move |tx| tx.update_profile(first, None, None, None, BEGIN + 50, BEGIN + 8_000))
            .await;
        assert_eq!(
            by_id(lab, first).await.unwrap().name.as_deref(),
            Some("Zoë"),
            "what Meta does not tell stays"
        );
        // However old it is, it is asked for again only when something is heard of them.
        assert_eq!(due(BEGIN + 90_000, 10).await, []);
        assert_eq!(by_id(lab, second).await.unwrap().profile_stale_at, Some(BEGIN + 9_000));
        lab.write(move |tx| tx.want_stale_profiles(&[second], BEGIN + 8_999))
            .await;
        assert_eq!(
            by_id(lab, second).await.unwrap().profile_stale_at,
            Some(BEGIN + 9_000),
            "it is not stale yet"
        );
        lab.write(move |tx| tx.want_stale_profiles(&[second], BEGIN + 90_001))
            .await;
        assert_eq!(by_id(lab, second).await.unwrap().profile_stale_at, None);
        assert_eq!(due(BEGIN + 90_000, 10).await, []);
        assert_eq!(due(BEGIN + 90_001, 10).await.len(), 1);
        // Who is asked for already is not asked for sooner.
        lab.write(move |tx| tx.want_stale_profiles(&[second], BEGIN)).await;
        assert_eq!(due(BEGIN + 90_002, 10).await, []);
        for plan in lab.sqlite_plans(&["c.profile_due_at <=", "SELECT"]) {
            let walk = "SEARCH c USING COVERING INDEX contacts_by_profile_due (profile_due_at<?)";
            assert!(plan.starts_with(walk) && !plan.contains("TEMP B-TREE"), "{plan}");
        }
    });
}

#[test]
fn a_person_who_is_met_by_several_at_once_is_one_contact() {
    on_both(async |lab| {
        let meetings = (0..8).map(|_| {
            let (store, new) = (lab.store.clone(), contact(lab, "Priya Shah"));
            async move {
                store
                    .write(move |tx| {
                        let addresses = [user_id("GB.1"), phone("447700900123")];
                        let keys = addresses.clone().map(|identity| identity.key);
                        if let Some((_, known)) = tx.contacts_by_identities(&keys)?.first() {
                            return Ok::<ContactId, StoreError>(*known);
                        }
                        tx.insert_contacts(&[(new.clone(), None)])?;
                        tx.bind_identities(&addresses.map(|identity| (identity, new.id)))?;
                        Ok(new.id)
                    })
                    .await
                    .unwrap()
            }
        });
        let met = join_all(meetings).await;
        assert!(met.iter().all(|id| *id == met[0]), "{met:?}");
        assert_eq!(lab.read(|tx| tx.contacts(None, 10)).await.len(), 1);
    });
}

/// A unit that makes one contact of two, which were found to be one by a phone number of the one and a user id of the other; it tells that it has, and then
/// stays open until the gate does.
fn merge_held_open(
    from: ContactId,
    into: ContactId,
    gate: std::sync::mpsc::Receiver<()>,
) -> (
    impl FnMut(&mut Tx<'_>) -> Result<(), StoreError>,
    tokio::sync::oneshot::Receiver<()>,
) {
    let (holds, is_held) = tokio::sync::oneshot::channel();
    let mut holds = Some(holds);
    let unit = move |tx: &mut Tx<'_>| {
        tx.contacts_by_identities(&[phone("447700900123").key, user_id("GB.1").key])?;
        tx.merge_contacts(from, into)?;
        if let Some(holds) = holds.take() {
            let _ = holds.send(());
        }
        let _ = gate.recv();
        Ok(())
    };
    (unit, is_held)
}

#[test]
fn whoever_waits_for_a_contact_that_is_being_merged_gets_the_other_one() {
    on_postgres(async |lab| {
        let (old, new) = (contact(lab, "Priya"), contact(lab, "Priya Shah"));
        keep(lab, &old, &[phone("447700900123")]).await;
        keep(lab, &new, &[user_id("GB.1")]).await;
        let (old_id, new_id) = (old.id, new.id);
        let (open, gate) = std::sync::mpsc::channel();
        let (merger, is_held) = merge_held_open(new_id, old_id, gate);
        let mut merger = Box::pin(lab.store.write(merger));
        assert!(futures_util::poll!(&mut merger).is_pending());
        is_held.await.unwrap();
        let mut waiter = Box::pin(lab.store.write(|tx| tx.contacts_by_identities(&[user_id("GB.1").key])));
        assert!(futures_util::poll!(&mut waiter).is_pending());
        open.send(()).unwrap();
        merger.await.unwrap();
        let found = waiter.await.unwrap();
        assert_eq!(found.iter().map(|(_, contact)| *contact).collect::<Vec<_>>(), [old_id]);
    });
}

/// The address that they ask for is not one of those by which the two were found to be one.
#[test]
fn whoever_waits_for_a_contact_by_another_of_its_addresses_gets_the_other_one_too() {
    on_postgres(async |lab| {
        let (old, new) = (contact(lab, "Priya"), contact(lab, "Priya Shah"));
        keep(lab, &old, &[phone("447700900123")]).await;
        keep(lab, &new, &[user_id("GB.1"), phone("447700900999")]).await;
        let (old_id, new_id) = (old.id, new.id);
        let (open, gate) = std::sync::mpsc::channel();
        let (merger, is_held) = merge_held_open(new_id, old_id, gate);
        let merger = lab.store.write(merger);
        let waiter = async {
            is_held.await.unwrap();
            lab.store
                .write(|tx| tx.contacts_by_identities(&[phone("447700900999").key]))
                .await
        };
        let opener = async {
            let waits = "SELECT query FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%FOR UPDATE%'";
            while lab.texts(waits).is_empty() {
                tokio::task::yield_now().await;
            }
            open.send(()).unwrap();
        };
        let (merged, found, ()) = tokio::join!(merger, waiter, opener);
        merged.unwrap();
        let found = found.unwrap();
        assert_eq!(found.iter().map(|(_, contact)| *contact).collect::<Vec<_>>(), [old_id]);
    });
}

#[test]
fn the_addresses_of_several_people_are_found_at_once() {
    on_both(async |lab| {
        let people = [contact(lab, "Priya"), contact(lab, "Ana"), contact(lab, "Jo")];
        let [priya, ana, jo] = people.clone().map(|contact| contact.id);
        let bindings = vec![
            (phone("447700900123"), priya),
            (user_id("GB.1"), priya),
            (phone("447700900124"), ana),
        ];
        lab.write(move |tx| {
            let rows: Vec<_> = people.iter().map(|contact| (contact.clone(), None)).collect();
            tx.insert_contacts(&rows)?;
            tx.bind_identities(&bindings)
        })
        .await;
        let found = lab.read(move |tx| tx.identities_of_contacts(&[priya, jo, ana])).await;
        let mut found: Vec<_> = found
            .into_iter()
            .map(|(contact, identity)| (contact, identity.key.value))
            .collect();
        found.sort();
        let mut expected = [(priya, "447700900123"), (priya, "GB.1"), (ana, "447700900124")]
            .map(|(contact, value)| (contact, value.to_owned()));
        expected.sort();
        assert_eq!(found, expected);
    });
}

#[test]
fn a_user_name_leads_to_whoever_alone_has_it_on_the_account() {
    on_both(async |lab| {
        let account = "17841470000000101";
        let of = async |username: &'static str| lab.read(move |tx| tx.igsid_of_username(account, username)).await;
        let called = |name: &str, username: &str| Contact {
            username: Some(username.to_owned()),
            ..contact(lab, name)
        };
        let (lucia, elsewhere) = (called("Lucia", "lucia.m"), called("Lucia too", "lucia.m"));
        keep(lab, &lucia, &[igsid(account, "5550001110001"), phone("447700900123")]).await;
        keep(lab, &elsewhere, &[igsid("another", "5550001110002")]).await;
        assert_eq!(of("lucia.m").await.as_deref(), Some("5550001110001"));
        assert_eq!(of("lucia").await, None);
        // She has given it up, or somebody took it: Meta has not told yet which of them has it now.
        let noor = called("Noor", "lucia.m");
        keep(lab, &noor, &[igsid(account, "5550001110003")]).await;
        assert_eq!(of("lucia.m").await, None);
        lab.write(move |tx| tx.update_contact_names(&[named(lucia.id, None, Some((BEGIN + 1_000_000, "lucia.l")))]))
            .await;
        assert_eq!(of("lucia.m").await.as_deref(), Some("5550001110003"));
        lab.write(move |tx| tx.merge_contacts(noor.id, elsewhere.id)).await;
        assert_eq!(
            of("lucia.m").await.as_deref(),
            Some("5550001110003"),
            "by whom they were merged into"
        );
    });
}
