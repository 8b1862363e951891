//! How many events each channel has in which hour.

use std::collections::BTreeMap;

use crate::harness::on_both;
use crate::samples::{backup, whatsapp};

#[test]
fn events_are_counted_by_channel_and_hour_and_forgotten() {
    on_both(async |lab| {
        assert_eq!(lab.read(|tx| tx.first_channel_hour(&whatsapp())).await, None);
        let count = async |hour: i64, events: i64| {
            lab.write(move |tx| {
                let (ours, other) = (whatsapp(), backup());
                tx.count_channel_hours(&BTreeMap::from([((&ours, hour), events), ((&other, hour), 100)]))
            })
            .await;
        };
        count(1_000, 2).await;
        count(1_001, 5).await;
        count(1_001, 1).await;
        let hours = async |hours: &'static [i64]| lab.read(|tx| tx.channel_hours(&whatsapp(), hours)).await;
        assert_eq!(
            hours(&[999, 1_000, 1_001]).await,
            BTreeMap::from([(1_000, 2), (1_001, 6)])
        );
        assert_eq!(lab.read(|tx| tx.first_channel_hour(&whatsapp())).await, Some(1_000));
        assert_eq!(lab.write(|tx| tx.prune_channel_hours(&whatsapp(), 1_001)).await, 1);
        assert_eq!(hours(&[1_000, 1_001]).await, BTreeMap::from([(1_001, 6)]));
        assert_eq!(lab.read(|tx| tx.first_channel_hour(&backup())).await, Some(1_000));
    });
}
