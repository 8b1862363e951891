//! How far accounts were looked through for new posts.

use tidings::store::media_watch::MediaWatch;

use crate::harness::{BEGIN, on_both};
use crate::samples::{backup, whatsapp};

#[test]
fn a_watch_begins_once_and_no_time_of_it_goes_back() {
    on_both(async |lab| {
        let watch = |since, seen_until, looked_at| MediaWatch {
            since,
            seen_until,
            looked_at,
        };
        let at = |now| lab.write(move |tx| tx.media_watch(&whatsapp(), now));
        let note = |seen_until, now| lab.write(move |tx| tx.note_media_watch(&whatsapp(), seen_until, now));
        assert_eq!(at(BEGIN).await, watch(BEGIN, BEGIN, BEGIN));
        assert_eq!(at(BEGIN + 9).await, watch(BEGIN, BEGIN, BEGIN));
        note(BEGIN + 5, BEGIN + 10).await;
        note(BEGIN + 4, BEGIN + 7).await;
        assert_eq!(at(BEGIN + 20).await, watch(BEGIN, BEGIN + 5, BEGIN + 10));
        let other = lab.write(move |tx| tx.media_watch(&backup(), BEGIN + 30)).await;
        assert_eq!(other.since, BEGIN + 30);
    });
}
