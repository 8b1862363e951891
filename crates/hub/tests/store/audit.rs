//! The audit: entries are added in the unit of their change, and read, the newest first.

use serde_json::json;
use tidings::audit::{AuditEntry, Auditor};
use tidings::ids::AuditId;
use tidings::store::StoreError;

use crate::harness::on_both;
use crate::samples::{backup, whatsapp};

#[test]
fn entries_are_read_from_the_newest_on_and_by_what_they_are_about() {
    on_both(async |lab| {
        let audit = Auditor::new(&lab.ids, "admin", lab.now());
        let entries: Vec<AuditEntry> = (0..5)
            .map(|number| {
                let id = if number % 2 == 0 { whatsapp() } else { backup() };
                audit.channel("channel.change", &id, json!({"number": number}))
            })
            .collect();
        let written = entries.clone();
        lab.write(move |tx| written.iter().try_for_each(|entry| tx.insert_audit(entry)))
            .await;
        let numbers = async |subject: Option<&'static str>, before: AuditId, limit| {
            let found = lab.read(move |tx| tx.audit_before(subject, before, limit)).await;
            found
                .iter()
                .map(|entry| entry.detail["number"].as_i64().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(numbers(None, AuditId::MAX, 10).await, [4, 3, 2, 1, 0]);
        assert_eq!(numbers(None, AuditId::MAX, 2).await, [4, 3]);
        assert_eq!(numbers(None, entries[3].id, 2).await, [2, 1]);
        let about = Some("channel:whatsapp");
        assert_eq!(numbers(about, AuditId::MAX, 10).await, [4, 2, 0]);
        assert_eq!(numbers(about, entries[2].id, 10).await, [0]);
        let newest = lab.read(|tx| tx.audit_before(None, AuditId::MAX, 1)).await;
        assert_eq!(
            (newest[0].actor.as_str(), newest[0].action.as_str(), newest[0].at),
            ("admin", "channel.change", lab.now())
        );
    });
}

#[test]
fn an_entry_goes_with_the_change_that_it_tells_of() {
    on_both(async |lab| {
        let entry = Auditor::new(&lab.ids, "admin", lab.now()).flag("flag.set", "outbound.enabled", None, Some(false));
        let taken_back = lab.store.write(move |tx| {
            tx.insert_audit(&entry)?;
            Err::<(), _>(StoreError::Refused("no".to_owned()))
        });
        taken_back.await.unwrap_err();
        assert!(lab.read(|tx| tx.audit_before(None, AuditId::MAX, 10)).await.is_empty());
    });
}
