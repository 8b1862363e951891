//! What Meta says of numbers, and when it is asked.

use tidings::channels::model::{NumberFacts, Quality};
use tidings::conversations::model::{ChannelId, Millis};
use tidings::store::numbers::NumberReading;

use crate::harness::{BEGIN, Lab, on_both};
use crate::samples::{backup, whatsapp};

async fn claim(lab: &Lab, channel: ChannelId, now: Millis) -> Option<NumberReading> {
    lab.write(move |tx| tx.claim_number_reading(&channel, now, now + 1_000))
        .await
}

async fn due(lab: &Lab) -> Vec<(ChannelId, Millis)> {
    lab.read(|tx| tx.number_readings()).await
}

#[test]
fn a_number_is_read_by_one_at_a_time_and_again_when_somebody_asks_meanwhile() {
    on_both(async |lab| {
        let first = claim(lab, whatsapp(), BEGIN).await.expect("it was never read");
        assert_eq!((first.until, first.failures), (BEGIN + 1_000, 0));
        assert_eq!(claim(lab, whatsapp(), BEGIN + 999).await, None);
        assert_eq!(due(lab).await, [(whatsapp(), BEGIN + 1_000)]);
        let failed = NumberReading { failures: 1, ..first };
        lab.write(move |tx| tx.finish_number_reading(&whatsapp(), failed, BEGIN + 9_000))
            .await;
        assert_eq!(due(lab).await, [(whatsapp(), BEGIN + 9_000)]);
        lab.write(|tx| tx.want_number_readings(&[whatsapp(), backup(), whatsapp()], BEGIN + 2_000))
            .await;
        assert_eq!(due(lab).await, [(whatsapp(), BEGIN + 2_000)], "only what is known");
        let second = claim(lab, whatsapp(), BEGIN + 2_000).await.expect("it is due");
        assert_eq!(second.failures, 1);
        // An event tells something while it is read.
        lab.write(|tx| tx.want_number_readings(&[whatsapp()], BEGIN + 2_500))
            .await;
        let done = NumberReading { failures: 0, ..second };
        lab.write(move |tx| tx.finish_number_reading(&whatsapp(), done, BEGIN + 90_000))
            .await;
        assert_eq!(due(lab).await, [(whatsapp(), BEGIN + 2_500)]);
    });
}

#[test]
fn what_was_read_is_kept_and_every_node_is_told() {
    on_both(async |lab| {
        let facts = NumberFacts {
            throughput: Some("HIGH".to_owned()),
            is_on_phone_app: true,
            messaging_limit: None,
            quality: Quality::Red,
            read_at: BEGIN + 5,
        };
        claim(lab, whatsapp(), BEGIN).await;
        assert_eq!(lab.read(|tx| tx.number_facts()).await, []);
        assert_eq!(lab.write(|tx| tx.lock_number_facts(&whatsapp())).await, None);
        let before = lab.read(|tx| tx.revision()).await;
        let kept = facts.clone();
        lab.write(move |tx| tx.keep_number_facts(&whatsapp(), &kept)).await;
        assert_eq!(lab.read(|tx| tx.revision()).await, before + 1);
        assert_eq!(lab.read(|tx| tx.number_facts()).await, [(whatsapp(), facts.clone())]);
        assert_eq!(lab.write(|tx| tx.lock_number_facts(&whatsapp())).await, Some(facts));

        // Of another number that the channel is given nothing is known.
        let is_of = async |account: &'static str| {
            lab.write(move |tx| tx.upsert_channel(&whatsapp(), "whatsapp", account, None, BEGIN))
                .await
        };
        assert!(is_of("418205937761245").await);
        claim(lab, whatsapp(), BEGIN).await;
        let kept = NumberFacts {
            throughput: Some("HIGH".to_owned()),
            is_on_phone_app: false,
            messaging_limit: None,
            quality: Quality::Green,
            read_at: BEGIN + 9,
        };
        lab.write(move |tx| tx.keep_number_facts(&whatsapp(), &kept)).await;
        assert!(is_of("418205937761245").await);
        assert_eq!(lab.read(|tx| tx.number_facts()).await.len(), 1);
        assert!(is_of("418205937761246").await);
        assert_eq!(lab.read(|tx| tx.number_facts()).await, []);
    });
}
