//! Channels, and when they were last heard of.

use tidings::channels::model::{ChannelKind, Held, Limits, OpenCircuit, Source, StoredChannel, Switched};
use tidings::conversations::model::ChannelId;
use tidings::store::channels::ChannelActivity;

use crate::harness::{BEGIN, Lab, on_both};
use crate::samples::{ACCOUNT, backup, whatsapp};

#[test]
fn a_channel_is_written_down_once_and_its_account_is_its_own() {
    on_both(async |lab| {
        let upsert = |id: ChannelId, kind: &'static str, account: &'static str| {
            lab.write(move |tx| tx.upsert_channel(&id, kind, account, Some("305918274660123"), BEGIN))
        };
        assert!(upsert(whatsapp(), "whatsapp", ACCOUNT).await);
        assert!(upsert(whatsapp(), "whatsapp", ACCOUNT).await);
        assert!(
            !upsert(backup(), "whatsapp", ACCOUNT).await,
            "the account is another channel's"
        );
        assert!(
            upsert(backup(), "instagram", ACCOUNT).await,
            "ids of other products are other ids"
        );
        assert!(
            upsert(backup(), "whatsapp", "418205937761999").await,
            "a channel can change its account"
        );
        let channels = lab.read(|tx| tx.channel_activity()).await;
        let ids: Vec<&str> = channels.iter().map(|channel| channel.id.0.as_str()).collect();
        assert_eq!(ids, ["whatsapp", "whatsapp-backup"]);
    });
}

#[test]
fn a_channel_was_last_heard_of_when_its_latest_event_came() {
    on_both(async |lab| {
        lab.write(|tx| tx.upsert_channel(&whatsapp(), "whatsapp", ACCOUNT, None, BEGIN))
            .await;
        let last = |at: Option<i64>, occurred_at: Option<i64>| ChannelActivity {
            id: whatsapp(),
            last_event_at: at,
            last_event_occurred_at: occurred_at,
        };
        assert_eq!(lab.read(|tx| tx.channel_activity()).await, [last(None, None)]);
        for (received_at, occurred_at, noted) in [
            (100, Some(90), last(Some(100), Some(90))),
            (50, Some(40), last(Some(100), Some(90))),
            // When an earlier one happened says nothing of how late this one came.
            (200, None, last(Some(200), None)),
            (300, Some(40), last(Some(300), Some(40))),
        ] {
            lab.write(move |tx| tx.note_channel_activity(&whatsapp(), received_at, occurred_at))
                .await;
            assert_eq!(lab.read(|tx| tx.channel_activity()).await, [noted]);
        }
        lab.write(|tx| tx.note_channel_activity(&backup(), 1, None)).await;
        assert_eq!(
            lab.read(|tx| tx.channel_activity()).await.len(),
            1,
            "no channel is made of an event"
        );
    });
}

fn added(id: &ChannelId, account: &str) -> StoredChannel {
    StoredChannel {
        id: id.clone(),
        kind: ChannelKind::WhatsApp,
        account: account.to_owned(),
        business_account: Some("305918274660123".to_owned()),
        name: Some("The shop".to_owned()),
        source: Source::Api,
        backup_for: None,
        limits: Limits {
            messages_per_second: Some(20),
            ..Limits::default()
        },
        credentials: Some(b"sealed".to_vec()),
        credentials_version: 1,
        credentials_at: Some(BEGIN),
        held: None,
        circuit: None,
        switched: None,
        hurries: 0,
        created_at: BEGIN,
        updated_at: None,
    }
}

async fn revision(lab: &Lab) -> i64 {
    lab.read(|tx| tx.revision()).await
}

#[test]
fn a_channel_is_added_changed_removed_and_comes_back_as_the_same() {
    on_both(async |lab| {
        let insert = |channel: StoredChannel| lab.write(move |tx| tx.insert_channel(&channel));
        let first = revision(lab).await;
        let shop = added(&whatsapp(), ACCOUNT);
        assert!(insert(shop.clone()).await);
        assert!(!insert(shop.clone()).await, "the id is in use");
        assert!(!insert(added(&backup(), ACCOUNT)).await, "the account is in use");
        assert_eq!(lab.read(|tx| tx.channels()).await, std::slice::from_ref(&shop));
        assert_eq!(revision(lab).await, first + 1);

        let changed = StoredChannel {
            name: None,
            business_account: None,
            backup_for: Some(backup()),
            limits: Limits::default(),
            updated_at: Some(BEGIN + 1),
            ..shop.clone()
        };
        let update = changed.clone();
        lab.write(move |tx| tx.update_channel(&update)).await;
        assert_eq!(
            lab.write(|tx| tx.lock_channel(&whatsapp())).await,
            Some(changed.clone())
        );
        lab.write(|tx| tx.hurry_channel(&whatsapp())).await;
        let hurried = StoredChannel { hurries: 1, ..changed };
        assert_eq!(lab.write(|tx| tx.lock_channel(&whatsapp())).await, Some(hurried));

        assert!(lab.write(|tx| tx.remove_channel(&whatsapp(), BEGIN + 2)).await);
        assert!(!lab.write(|tx| tx.remove_channel(&whatsapp(), BEGIN + 2)).await);
        assert_eq!(lab.read(|tx| tx.channels()).await, []);
        assert_eq!(lab.write(|tx| tx.lock_channel(&whatsapp())).await, None);
        assert!(
            !insert(added(&backup(), ACCOUNT)).await,
            "its conversations have the account"
        );
        assert!(insert(shop.clone()).await);
        let again = lab.read(|tx| tx.channels()).await;
        assert_eq!(again[0].name, shop.name);
        assert!(again[0].credentials_version > shop.credentials_version);
        assert_eq!(revision(lab).await, first + 5);
    });
}

#[test]
fn a_channel_of_the_settings_is_told_of_only_when_it_has_changed() {
    on_both(async |lab| {
        let upsert = |account: &'static str| {
            lab.write(move |tx| tx.upsert_channel(&whatsapp(), "whatsapp", account, None, BEGIN))
        };
        assert!(upsert(ACCOUNT).await);
        let first = revision(lab).await;
        assert!(upsert(ACCOUNT).await);
        assert_eq!(revision(lab).await, first);
        assert!(upsert("7").await);
        assert_eq!(revision(lab).await, first + 1);
        lab.write(|tx| tx.remove_channel(&whatsapp(), BEGIN)).await;
        assert!(upsert("7").await);
        let channels = lab.read(|tx| tx.channels()).await;
        assert_eq!((channels.len(), channels[0].source), (1, Source::Settings));
    });
}

#[test]
fn credentials_of_the_settings_are_new_only_when_they_say_others() {
    on_both(async |lab| {
        lab.write(|tx| tx.upsert_channel(&whatsapp(), "whatsapp", ACCOUNT, None, BEGIN))
            .await;
        let note = |fingerprint: Option<&'static [u8]>| {
            lab.write(move |tx| tx.note_settings_fingerprint(&whatsapp(), fingerprint))
        };
        assert!(!note(None).await, "they never said any");
        assert!(note(Some(b"one")).await);
        assert!(!note(Some(b"one")).await);
        assert!(note(Some(b"two")).await);
        assert!(note(None).await);
    });
}

#[test]
fn a_backup_is_proposed_until_somebody_has_a_say() {
    on_both(async |lab| {
        crate::samples::channels(lab).await;
        lab.write(|tx| tx.propose_backup(&backup(), &whatsapp())).await;
        let find = async || {
            let channels = lab.read(|tx| tx.channels()).await;
            channels.into_iter().find(|channel| channel.id == backup()).unwrap()
        };
        assert_eq!(find().await.backup_for, Some(whatsapp()));
        let mut freed = find().await;
        freed.backup_for = None;
        freed.updated_at = Some(BEGIN);
        lab.write(move |tx| tx.update_channel(&freed)).await;
        lab.write(|tx| tx.propose_backup(&backup(), &whatsapp())).await;
        assert_eq!(find().await.backup_for, None);
    });
}

#[test]
fn a_circuit_and_a_switch_are_kept_with_the_channel_and_every_node_is_told() {
    on_both(async |lab| {
        lab.write(|tx| tx.insert_channel(&added(&whatsapp(), ACCOUNT))).await;
        lab.write(|tx| tx.insert_channel(&added(&backup(), "7"))).await;
        let now = async || {
            let channels = lab.read(|tx| tx.channels()).await;
            channels.into_iter().find(|channel| channel.id == whatsapp()).unwrap()
        };
        let circuit = OpenCircuit {
            reason: "it timed out".to_owned(),
            opened_at: BEGIN,
            probe_at: BEGIN + 30_000,
            openings: 2,
        };
        let first = revision(lab).await;
        let open = circuit.clone();
        lab.write(move |tx| tx.set_channel_circuit(&whatsapp(), Some(&open)))
            .await;
        assert_eq!(now().await.circuit, Some(circuit.clone()));
        assert_eq!(revision(lab).await, first + 1);
        lab.write(|tx| tx.set_channel_circuit(&whatsapp(), None)).await;
        assert_eq!(now().await.circuit, None);
        lab.write(move |tx| tx.set_channel_circuit(&whatsapp(), Some(&circuit)))
            .await;
        lab.write(|tx| tx.set_channel_credentials(&whatsapp(), Some(b"others"), BEGIN))
            .await;
        assert_eq!(now().await.circuit, None, "other credentials are tried at once");

        let switched = Switched {
            to: backup(),
            at: BEGIN + 1,
            by: "admin".to_owned(),
        };
        let to = switched.clone();
        let first = revision(lab).await;
        lab.write(move |tx| tx.switch_channel(&whatsapp(), Some(&to))).await;
        assert_eq!(now().await.switched.as_ref(), Some(&switched));
        assert_eq!(revision(lab).await, first + 1);
        lab.write(|tx| tx.switch_channel(&whatsapp(), None)).await;
        assert_eq!(now().await.switched, None);
        lab.write(move |tx| tx.switch_channel(&whatsapp(), Some(&switched)))
            .await;
        lab.write(|tx| tx.remove_channel(&backup(), BEGIN + 2)).await;
        assert_eq!(now().await.switched, None, "nothing sends in its place any more");
    });
}

#[test]
fn a_channel_is_held_for_the_credentials_that_were_refused_and_no_others() {
    on_both(async |lab| {
        lab.write(|tx| tx.insert_channel(&added(&whatsapp(), ACCOUNT))).await;
        let held = Held {
            reason: "Session has expired".to_owned(),
            code: 190,
            at: BEGIN,
        };
        let hold = |version| {
            let held = held.clone();
            lab.write(move |tx| tx.hold_channel(&whatsapp(), version, &held))
        };
        let release = |version| lab.write(move |tx| tx.release_channel(&whatsapp(), version));
        let now = async || lab.read(|tx| tx.channels()).await.remove(0);
        let first = revision(lab).await;
        assert!(!release(1).await);
        assert!(hold(1).await);
        assert!(!hold(1).await, "it is held already");
        assert_eq!(now().await.held, Some(held.clone()));
        assert_eq!(revision(lab).await, first + 1);
        assert!(!release(0).await, "that was about other credentials");
        assert!(release(1).await);
        assert_eq!(now().await.held, None);

        assert!(hold(1).await);
        assert!(
            lab.write(|tx| tx.set_channel_credentials(&whatsapp(), Some(b"others"), BEGIN + 5))
                .await
        );
        let swapped = now().await;
        assert_eq!((swapped.held, swapped.credentials_version), (None, 2));
        assert_eq!(swapped.credentials.as_deref(), Some(&b"others"[..]));
        assert!(!hold(1).await, "a late answer to the old credentials");
        assert!(
            !lab.write(|tx| tx.set_channel_credentials(&backup(), None, BEGIN)).await,
            "there is no such channel"
        );
        assert_eq!(revision(lab).await, first + 4);
    });
}
