//! Channels, and when they were last heard of.

use tidings::conversations::model::ChannelId;
use tidings::store::channels::ChannelActivity;

use crate::harness::{BEGIN, on_both};
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
        for (received_at, occurred_at) in [(100, Some(90)), (50, Some(40)), (200, None)] {
            lab.write(move |tx| tx.note_channel_activity(&whatsapp(), received_at, occurred_at))
                .await;
        }
        assert_eq!(lab.read(|tx| tx.channel_activity()).await, [last(Some(200), Some(90))]);
        lab.write(|tx| tx.note_channel_activity(&backup(), 1, None)).await;
        assert_eq!(
            lab.read(|tx| tx.channel_activity()).await.len(),
            1,
            "no channel is made of an event"
        );
    });
}
