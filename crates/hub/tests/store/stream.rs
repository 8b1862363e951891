//! The event stream: numbers in the order of the commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use tidings::conversations::model::Status;
use tidings::store::stream::NewStreamRow;
use tidings::stream::model::{Change, StreamRow};

use crate::harness::{BEGIN, Lab, on_both};
use crate::samples::whatsapp;

fn row(lab: &Lab, at: i64) -> NewStreamRow {
    NewStreamRow {
        at,
        channel_id: Some(whatsapp()),
        event_id: Some(lab.ids.next()),
        changes: Vec::new(),
    }
}

#[test]
fn rows_come_back_as_they_were_written_and_in_order() {
    on_both(async |lab| {
        assert_eq!(lab.read(|tx| tx.stream_bounds()).await, None);
        lab.write(|tx| tx.insert_stream(&[])).await;
        let (message, conversation) = (lab.ids.next(), lab.ids.next());
        let changes = vec![
            Change::MessageCreated { message, conversation },
            Change::MessageStatus {
                message,
                conversation,
                status: Status::Delivered,
            },
            Change::MessageUpdated { message, conversation },
            Change::ContactMerged {
                from: lab.ids.next(),
                into: lab.ids.next(),
            },
            Change::ConversationUpdated { conversation },
        ];
        let rows = [
            NewStreamRow {
                changes,
                ..row(lab, BEGIN)
            },
            NewStreamRow {
                channel_id: None,
                event_id: None,
                ..row(lab, BEGIN + 1)
            },
            row(lab, BEGIN + 2),
        ];
        let kept = rows.clone();
        lab.write(move |tx| tx.insert_stream(&kept)).await;
        let (first, last) = lab.read(|tx| tx.stream_bounds()).await.unwrap();
        assert_eq!(last - first, 2);
        let found = lab.read(move |tx| tx.stream_after(first - 1, 10)).await;
        let expected: Vec<StreamRow> = rows
            .into_iter()
            .zip(first..)
            .map(|(row, seq)| StreamRow {
                seq,
                at: row.at,
                channel_id: row.channel_id,
                event_id: row.event_id,
                changes: row.changes,
            })
            .collect();
        assert_eq!(found, expected);
        assert_eq!(lab.read(move |tx| tx.stream_after(first - 1, 2)).await, expected[..2]);
        assert_eq!(lab.read(move |tx| tx.stream_after(first + 1, 10)).await, expected[2..]);
        assert_eq!(lab.read(move |tx| tx.stream_after(last, 10)).await, []);
    });
}

#[test]
fn old_rows_go_and_numbers_go_on() {
    on_both(async |lab| {
        let rows: Vec<NewStreamRow> = (0..4).map(|number| row(lab, BEGIN + number)).collect();
        lab.write(move |tx| tx.insert_stream(&rows)).await;
        let (first, last) = lab.read(|tx| tx.stream_bounds()).await.unwrap();
        assert_eq!(lab.write(|tx| tx.prune_stream(BEGIN + 3)).await, 3);
        assert_eq!(lab.read(|tx| tx.stream_bounds()).await, Some((last, last)));
        assert_eq!(lab.write(|tx| tx.prune_stream(BEGIN + 4)).await, 1);
        assert_eq!(lab.read(|tx| tx.stream_bounds()).await, None);
        let next = row(lab, BEGIN);
        lab.write(move |tx| tx.insert_stream(std::slice::from_ref(&next))).await;
        let (next, _) = lab.read(|tx| tx.stream_bounds()).await.unwrap();
        assert!(next > last && last > first, "a number is never given twice");
    });
}

#[test]
fn who_has_seen_a_number_has_seen_every_lower_one() {
    on_both(async |lab| {
        const WRITERS: usize = 8;
        const UNITS: usize = 15;
        let done = AtomicBool::new(false);
        let writers = join_all((0..WRITERS).map(|_| async {
            for _ in 0..UNITS {
                let rows = Arc::new([row(lab, BEGIN), row(lab, BEGIN)]);
                lab.write(move |tx| tx.insert_stream(&*rows)).await;
            }
        }));
        let writing = async {
            writers.await;
            done.store(true, Ordering::SeqCst);
        };
        let reading = async {
            let mut seen: Vec<i64> = Vec::new();
            loop {
                // Asked before reading, so that what was written last is read for certain.
                let is_last = done.load(Ordering::SeqCst);
                let after = seen.last().copied().unwrap_or(0);
                let rows = lab.read(move |tx| tx.stream_after(after, 7)).await;
                assert!(rows.windows(2).all(|pair| pair[0].seq < pair[1].seq));
                let found = rows.len();
                seen.extend(rows.into_iter().map(|row| row.seq));
                if is_last && found == 0 {
                    return seen;
                }
            }
        };
        let ((), seen) = tokio::join!(writing, reading);
        assert_eq!(
            seen.len(),
            WRITERS * UNITS * 2,
            "a row that comes after a higher number is never read"
        );
    });
}
